"""Each option of training, by small trainings of a model that is no two-tower."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.tiny import tiny_config, tiny_trained
from torchtowers.data.synthetic import make_shop
from torchtowers.models.callbacks import Callback
from torchtowers.models.checkpoint import Progress
from torchtowers.models.errors import ConfigError, TrainingError
from torchtowers.models.experiment import Trained, train
from torchtowers.models.run import Run
from torchtowers.models.training import fit
from torchtowers.models.training_config import TrainingConfig

ROWS = 12


class Rating(nn.Module):
    """Predicts a number from an index: a table under two names, dropout and a layer."""

    def __init__(self, *, sparse: bool = True) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, 4, sparse=sparse)
        self.same_table = self.table
        self.dropout = nn.Dropout(0.25)
        self.layer = nn.Linear(4, 1)

    def compute_loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        rows, values = (tensor.to(self.layer.weight.device) for tensor in batch)
        return F.mse_loss(self.layer(self.dropout(self.table(rows)))[:, 0].float(), values)


class Examples:
    """Batches of pairs, others in each epoch."""

    batch_size = 6

    def __init__(self, interrupt_at: int | None = None) -> None:
        self._until_interruption = interrupt_at

    def __len__(self) -> int:
        return 5

    def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(number)
        rows = torch.randint(0, ROWS, (5, self.batch_size), generator=generator)
        for batch in list(zip(rows, (rows % 3).float(), strict=True))[first:]:
            if self._until_interruption == 0:
                os.kill(os.getpid(), signal.SIGINT)
            if self._until_interruption is not None:
                self._until_interruption -= 1
            yield batch


class Figures(Callback):
    """Adds `m`, as it is told for each epoch."""

    def __init__(self, *values: float) -> None:
        self._values = values

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        figures["m"] = self._values[epoch - 1]
        return False


def fitted(
    folder: Path,
    options: dict[str, Any],
    *,
    model: nn.Module | None = None,
    batches: Examples | None = None,
    callbacks: list[Callback] | None = None,
    resume: bool = False,
    interrupt_at: int | None = None,
) -> Progress:
    """Fit a model of seed 0 into `folder`, interrupted by a real SIGINT as one of the batches is made."""
    torch.manual_seed(99 if resume else 0)
    config = TrainingConfig(**{"epochs": 4, "embedding_learning_rate": 0.1, **options})
    return fit(
        model or Rating(),
        batches or Examples(interrupt_at=interrupt_at),
        config,
        Run(folder),
        callbacks=callbacks or [],
        resume=resume,
        show_progress=False,
    )


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def close(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)


STOPPING = {"early_stopping": {"metric": "m", "patience": 2}}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "accumulate": {"accumulate": 2},
    "clipping": {"max_gradient_norm": 0.1},
    "adagrad": {"embedding_optimizer": "sparse_adagrad"},
    "row-wise": {"embedding_optimizer": "row_wise_adagrad"},
    "bf16": {"precision": "bf16"},
    "stopping": STOPPING,
    "all": {
        "accumulate": 2,
        "max_gradient_norm": 0.1,
        "embedding_optimizer": "row_wise_adagrad",
        "precision": "bf16",
        "warmup": 0.2,
        "final_learning_rate": 0.5,
        "weight_decay": 0.1,
        **STOPPING,
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_training_is_repeatable_and_resumes_from_any_step_to_the_same_weights(
    options: dict[str, Any], tmp_path: Path
) -> None:
    def figures() -> list[Callback]:
        return [Figures(1.0, 3.0, 2.0, 2.0)]

    for name in ("whole", "again"):
        ended = fitted(tmp_path / name, options, callbacks=figures())
        assert (ended.epoch, ended.interrupted) == (4, False)
    whole = weights(tmp_path / "whole")
    assert equal(weights(tmp_path / "again"), whole)
    assert "same_table.weight" not in whole
    for step in (0, 3, 4, 7, 13):
        folder = tmp_path / f"stopped-{step}"
        assert fitted(folder, options, callbacks=figures(), interrupt_at=step).interrupted
        # With early stopping it holds the best weights so far, which from epoch 2 on are those at the end.
        assert equal(weights(folder), whole) == ("early_stopping" in options and step > 9)
        assert not fitted(folder, options, callbacks=figures(), resume=True).interrupted
        assert equal(weights(folder), whole)
        assert len(Run(folder).history()) == 4
        assert not Run(folder).checkpoint_path.exists()


def test_every_option_changes_what_is_learnt(tmp_path: Path) -> None:
    found: list[dict[str, Tensor]] = []
    for name, options in OPTIONS.items():
        fitted(tmp_path / name, options, callbacks=[Figures(1.0, 3.0, 2.0, 2.0)])
        assert not any(equal(weights(tmp_path / name), other) for other in found)
        found.append(weights(tmp_path / name))


def test_batches_that_are_accumulated_are_as_one_large_batch(tmp_path: Path) -> None:
    class Halves(Examples):
        """Each batch in two."""

        def __len__(self) -> int:
            return 2 * super().__len__()

        def epoch(self, number: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
            halves = [
                part
                for rows, values in super().epoch(number)
                for part in zip(rows.chunk(2), values.chunk(2), strict=True)
            ]
            yield from halves[first:]

    models = [Rating().eval() for _ in range(2)]
    for model in models:
        model.load_state_dict(models[0].state_dict())
        model.dropout.p = 0.0  # would be drawn in another order
    fitted(tmp_path / "large", {}, model=models[0])
    fitted(tmp_path / "small", {"accumulate": 2}, model=models[1], batches=Halves())
    close(weights(tmp_path / "small"), weights(tmp_path / "large"))
    losses = [[entry["loss"] for entry in Run(tmp_path / name).history()] for name in ("small", "large")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_what_is_left_at_an_epochs_end_is_averaged_over_its_own_number(tmp_path: Path) -> None:
    # With one step an epoch of all there is, 5 and 100 batches a step are the same.
    for accumulate in (5, 100):
        fitted(tmp_path / str(accumulate), {"accumulate": accumulate})
    assert equal(weights(tmp_path / "5"), weights(tmp_path / "100"))


def test_the_loop_is_the_one_that_torch_would_be_used_for(tmp_path: Path) -> None:
    """Adagrad for the table, AdamW for the layer, clipping: dense and by hand."""
    options = {"embedding_optimizer": "sparse_adagrad", "max_gradient_norm": 0.1, "weight_decay": 0.01}
    torch.manual_seed(0)
    model = Rating(sparse=False)
    optimizers = [
        torch.optim.Adagrad(model.table.parameters(), lr=0.1, initial_accumulator_value=0.1, eps=1e-7),
        torch.optim.AdamW(model.layer.parameters(), lr=0.001, weight_decay=0.01),
    ]
    for epoch in range(4):
        for batch in Examples().epoch(epoch):
            model.zero_grad()
            model.compute_loss(batch).backward()  # type: ignore[no-untyped-call]
            assert nn.utils.clip_grad_norm_(model.parameters(), 0.1) > 0.1
            for optimizer in optimizers:
                optimizer.step()
    fitted(tmp_path, options)
    expected = model.state_dict()
    del expected["same_table.weight"]
    close(weights(tmp_path), expected)


def test_early_stopping_ends_with_the_best_epochs_weights(tmp_path: Path) -> None:
    ended = fitted(tmp_path / "run", {"epochs": 9, **STOPPING}, callbacks=[Figures(1.0, 3.0, 2.0, 2.0)])
    assert (ended.epoch, ended.stopped, ended.interrupted) == (4, True, False)
    fitted(tmp_path / "best", {"epochs": 2})
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "best"))
    run = Run(tmp_path / "run")
    assert not run.checkpoint_path.exists()
    assert [entry["m"] for entry in run.history()] == [1.0, 3.0, 2.0, 2.0]


def test_a_run_that_is_interrupted_holds_its_best_weights_so_far(tmp_path: Path) -> None:
    fitted(tmp_path / "run", STOPPING, callbacks=[Figures(1.0, 3.0, 2.0, 2.0)], interrupt_at=17)
    fitted(tmp_path / "best", {"epochs": 2})
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "best"))


def test_a_callback_may_end_training(tmp_path: Path) -> None:
    class Once(Callback):
        def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
            return True

    ended = fitted(tmp_path / "once", {}, callbacks=[Once()])
    assert (ended.epoch, ended.stopped) == (1, True)
    fitted(tmp_path / "one", {"epochs": 1})
    assert equal(weights(tmp_path / "once"), weights(tmp_path / "one"))


def test_early_stopping_can_watch_the_loss(tmp_path: Path) -> None:
    stopping = {"early_stopping": {"metric": "loss", "patience": 1, "mode": "min"}}
    # A rate of almost nothing: whether a loss is smaller is left to dropout and the examples.
    ended = fitted(tmp_path, {"epochs": 50, "embedding_learning_rate": 1e-9, **stopping})
    losses = [entry["loss"] for entry in Run(tmp_path).history()]
    assert ended.epoch == len(losses) < 50
    assert losses[-1] >= losses[-2] == min(losses)


def test_early_stopping_on_a_figure_that_there_is_not_says_so(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"early stopping: there is no m .*: loss;"):
        fitted(tmp_path, STOPPING)


def test_bf16_leaves_the_weights_float32(tmp_path: Path) -> None:
    fitted(tmp_path / "bf16", {"precision": "bf16"})
    fitted(tmp_path / "float32", {})
    found, expected = weights(tmp_path / "bf16"), weights(tmp_path / "float32")
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0.1, atol=0.1)


def test_a_compiled_loss_is_the_same_loss(tmp_path: Path) -> None:
    models = [Rating() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for name, model in zip(("eager", "compiled"), models, strict=True):
        model.dropout.p = 0.0  # is drawn by another generator
        fitted(tmp_path / name, {"compile": name == "compiled"}, model=model)
    close(weights(tmp_path / "compiled"), weights(tmp_path / "eager"))
    # The model is what it was: it can be scripted, which a compiled module can't.
    assert "forward" not in vars(models[1].table)
    torch.jit.script(models[1].table)


def test_a_compiled_training_resumes_to_the_same_weights(tmp_path: Path) -> None:
    options = {"compile": True}
    fitted(tmp_path / "whole", options)
    assert fitted(tmp_path / "run", options, interrupt_at=7).interrupted
    fitted(tmp_path / "run", options, resume=True)
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^device: got cuda"):
        fitted(tmp_path, {"device": "cuda"})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_gpu_learns_and_resumes(options: dict[str, Any], tmp_path: Path) -> None:
    options = {**options, "device": "cuda"}
    callbacks: list[Callback] = [Figures(1.0, 3.0, 2.0, 2.0)]
    fitted(tmp_path / "whole", options, callbacks=callbacks)
    assert fitted(tmp_path / "run", options, callbacks=callbacks, interrupt_at=7).interrupted
    fitted(tmp_path / "run", options, callbacks=callbacks, resume=True)
    close(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_two_tower_learns_on_a_gpu(trained: Trained, tmp_path: Path) -> None:
    on_gpu = tiny_trained(tmp_path / "run", tiny_config(training={"device": "cuda"}))
    losses = [[entry["loss"] for entry in each.run.history()] for each in (on_gpu, trained)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def small(**training: object) -> dict[str, dict[str, object]]:
    features = {"user": {"user_id": {"kind": "token"}}, "item": {"item_id": {"kind": "token"}}}
    return {
        "features": {**features},
        "model": {"query_hidden": []},
        "training": {"batch_size": 8192, "embedding_learning_rate": 0.5, **training},
    }


def test_early_stopping_without_a_validation_part_is_refused_before_training(tmp_path: Path) -> None:
    stopping = {"metric": "validation/top_100_accuracy", "patience": 1}
    config = tiny_config(**small(early_stopping=stopping))
    with pytest.raises(ConfigError, match=r"there is no validation part: set split.validation_fraction"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_by_a_configuration_stops_early_on_the_validation_part(tmp_path: Path) -> None:
    metric = "validation/top_100_accuracy"
    stopping = {"metric": metric, "patience": 1}
    config = tiny_config(
        **small(early_stopping=stopping, epochs=30),
        data={"columns": []},
        split={"validation_fraction": 0.2, "test_fraction": 0.2},
    )
    lines: list[str] = []
    shop = make_shop(rows=10_000, users=400, items=500)
    trained = train(config, tmp_path / "run", tables=shop, log=lines.append)
    figures = [entry[metric] for entry in trained.run.history()]
    assert 2 < len(figures) < 30
    assert figures[-1] <= figures[-2] == max(figures)
    assert trained.run.metrics()["validation"]["top_100_accuracy"] == max(figures)
    assert f"the weights are those of epoch {len(figures) - 1}" in "\n".join(lines)
