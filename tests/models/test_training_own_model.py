"""`fit` of a model of one's own, without a configuration file: TFRS's `Model` in its multitask tutorial."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from torchtowers.data import ColumnBatches, RankingBatches, RatedBatches
from torchtowers.handlers.encoders import TokenEncoder, Vocabulary
from torchtowers.models import (
    MLP,
    BruteForce,
    Callback,
    ClippyAdagrad,
    CompositeOptimizer,
    EarlyStoppingConfig,
    FactorizedTopK,
    LazyAdam,
    MeanSquaredError,
    Ranking,
    Retrieval,
    Run,
    RunError,
    TokenEmbedding,
    TrainingConfig,
    TrainingError,
    build_dcn,
    build_dlrm,
    build_multi_task,
    fit,
    warmup_and_decay,
)

USER, MOVIE = torch.cartesian_prod(torch.arange(2, 62), torch.arange(2, 32)).T
RATING = torch.where(USER % 3 == MOVIE % 3, 5.0, 1.0)
COLUMNS = {"user": USER, "movie": MOVIE, "rating": RATING}


class Movies(nn.Module):
    """Two tables, retrieval and ratings."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.movie = TokenEmbedding(62, 8), TokenEmbedding(32, 8)
        self.rating = MLP(16, [32, 1])
        self.dropout = nn.Dropout(0.1)
        self.retrieval = Retrieval(reduction="mean", remove_accidental_hits=True)
        self.ranking = Ranking(MeanSquaredError())

    def forward(self, user: Tensor, movie: Tensor) -> Tensor:
        both = torch.cat([self.user(user), self.movie(movie)], 1)
        predicted: Tensor = self.rating(self.dropout(both))[:, 0]
        return predicted

    def compute_loss(self, batch: dict[str, Tensor]) -> Tensor:
        users, movies = self.user(batch["user"]), self.movie(batch["movie"])
        liked = (batch["rating"] > 3).float()
        retrieval = self.retrieval(users, movies, sample_weight=liked, candidate_ids=batch["movie"])
        rating = self.ranking(batch["rating"], self(batch["user"], batch["movie"]))
        total: Tensor = retrieval + rating
        return total


class Interrupted(Exception):
    """As sudden as a kill."""


class KilledIn(ColumnBatches):
    """Ends the process' training in a batch of an epoch."""

    def __init__(self, epoch: int, batch: int) -> None:
        super().__init__(COLUMNS, 300, 1)
        self._place = epoch, batch

    def epoch(self, number: int, first: int = 0) -> Iterator[dict[str, Any]]:
        for step, batch in enumerate(super().epoch(number, first), first):
            if (number, step) == self._place:
                raise Interrupted
            yield batch


Make = Callable[[Movies], Any]


def trained(
    folder: Path,
    *,
    make: Make = lambda _: None,
    batches: ColumnBatches | None = None,
    resume: bool = False,
    callbacks: list[Callback] | None = None,
    **options: Any,
) -> Movies:
    torch.manual_seed(7 if resume else 1)
    model = Movies()
    config = TrainingConfig(**{"epochs": 3, "embedding_learning_rate": 0.03, **options})
    fit(
        model,
        batches or ColumnBatches(COLUMNS, 300, 1),
        config,
        Run(folder),
        optimizer=make(model),
        resume=resume,
        callbacks=callbacks or [],
        show_progress=False,
    )
    return model


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_model_of_two_tasks_learns_both_in_a_folder_that_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    model = trained(folder, epochs=40, dense_learning_rate=0.01)
    run = Run(folder)
    assert run.is_finished
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "history.jsonl"}
    assert len(run.history()) == 40
    with torch.no_grad():
        error = (model(USER, MOVIE) - RATING).square().mean().sqrt()
        index = BruteForce(model.movie(torch.arange(2, 32)), ids=range(2, 32))
        metric = FactorizedTopK(index, ks=(10,))
        metric.update(model.user(USER[RATING > 3]), true_candidate_ids=MOVIE[RATING > 3])
    assert error < 0.3
    assert metric.compute()["top_10_accuracy"] > 0.95
    again = Movies()
    run.load_model(again)
    assert torch.equal(again.eval()(USER, MOVIE), model(USER, MOVIE))


OPTIMIZERS: dict[str, Make] = {
    "none": lambda _: None,
    "clippy": lambda model: ClippyAdagrad(model.parameters(), lr=0.3),
    "adagrad": lambda model: torch.optim.Adagrad(model.parameters(), lr=0.1),
    "momentum": lambda model: CompositeOptimizer(
        [
            LazyAdam([model.user.weight, model.movie.weight], lr=0.03),
            torch.optim.SGD(model.rating.parameters(), lr=0.01, momentum=0.9, nesterov=True),
        ],
        schedule=warmup_and_decay(18, warmup=0.2, final=0.1),
    ),
    # Its state counts steps in a number.
    "sparse adam": lambda model: CompositeOptimizer(
        [
            torch.optim.SparseAdam([model.user.weight, model.movie.weight], lr=0.03),
            torch.optim.AdamW(model.rating.parameters(), lr=torch.tensor(0.01), amsgrad=True),
        ]
    ),
    "some of it": lambda model: torch.optim.AdamW(model.rating.parameters(), lr=0.01),
}


# Adagrad's, whose own sparse tensors nobody checks.
@pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_ones_own_optimizer_learns_and_resumes_to_the_same_weights(name: str, tmp_path: Path) -> None:
    make = OPTIMIZERS[name]
    trained(tmp_path / "whole", make=make, max_gradient_norm=1.0)
    whole = weights(tmp_path / "whole")
    losses = [entry["loss"] for entry in Run(tmp_path / "whole").history()]
    assert losses[-1] < losses[0]
    for place in ((0, 2), (1, 3)):
        folder = tmp_path / f"killed-{place[0]}"
        with pytest.raises(Interrupted):
            trained(folder, make=make, batches=KilledIn(*place), max_gradient_norm=1.0)
        assert not Run(folder).is_finished
        trained(folder, make=make, resume=True, max_gradient_norm=1.0)
        assert equal(weights(folder), whole)
        assert Run(folder).is_finished
        assert [entry["loss"] for entry in Run(folder).history()] == losses


def test_the_optimizer_is_the_one_that_torch_would_be_used_with(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = Movies()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    for epoch in range(3):
        for batch in ColumnBatches(COLUMNS, 300, 1).epoch(epoch):
            optimizer.zero_grad()
            torch.autograd.backward(model.compute_loss(batch))
            optimizer.step()
    # Warm-up and decay of the configuration are not its own.
    trained(tmp_path / "run", make=OPTIMIZERS["adagrad"], warmup=0.5, final_learning_rate=0.1)
    for name, tensor in weights(tmp_path / "run").items():
        torch.testing.assert_close(tensor, model.state_dict()[name])


def test_parameters_that_the_optimizer_has_not_stay_and_collect_no_gradients(tmp_path: Path) -> None:
    model = trained(tmp_path / "run", make=OPTIMIZERS["some of it"])
    torch.manual_seed(1)
    assert torch.equal(model.user.weight, Movies().user.weight)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_learning_rate_that_a_callback_lowers_is_resumed(tmp_path: Path) -> None:
    class Halve(Callback):
        def __init__(self) -> None:
            self.optimizer: Any = None

        def make(self, model: Movies) -> Any:
            self.optimizer = torch.optim.Adagrad(model.parameters(), lr=0.2)
            return self.optimizer

        def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
            self.optimizer.param_groups[0]["lr"] /= 2
            return False

    for name in ("whole", "run"):
        halve = Halve()
        if name == "run":
            with pytest.raises(Interrupted):
                trained(tmp_path / name, make=halve.make, callbacks=[halve], batches=KilledIn(2, 0))
            halve = Halve()
        trained(tmp_path / name, make=halve.make, callbacks=[halve], resume=name == "run")
        assert halve.optimizer.param_groups[0]["lr"] == 0.025
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_a_resume_with_another_optimizer_or_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        trained(tmp_path, batches=KilledIn(1, 0))
    began = r"was begun with LazyAdam of 2 parameters, AdamW of 4 parameters: resume it with that, not "
    with pytest.raises(RunError, match=began + "Adagrad of 6 parameters$"):
        trained(tmp_path, make=OPTIMIZERS["adagrad"], resume=True)
    with pytest.raises(RunError, match=began + "AdamW of 4 parameters$"):
        trained(tmp_path, make=OPTIMIZERS["some of it"], resume=True)
    other = build_dlrm({"user": 62, "movie": 32})
    batches = RankingBatches({"user": USER, "movie": MOVIE}, RATING, 300, 1)
    with pytest.raises(RunError, match="is of another model: missing:"):
        fit(other, batches, TrainingConfig(), Run(tmp_path), resume=True, show_progress=False)
    assert len(Run(tmp_path).history()) == 1


def test_a_run_without_a_configuration_is_told_no_command(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no checkpoint: train anew instead of resuming$"):
        trained(tmp_path / "nothing", resume=True)
    trained(tmp_path / "run", epochs=1)
    with pytest.raises(RunError, match=r"is finished: there is nothing to resume$"):
        trained(tmp_path / "run", epochs=1, resume=True)
    with pytest.raises(TrainingError, match="the loss became") as caught:
        trained(tmp_path / "run", embedding_learning_rate=1e30, dense_learning_rate=1e30)
    assert not re.search(r"--|training\.|model\.", str(caught.value))


def test_a_training_anew_replaces_what_an_earlier_one_left(tmp_path: Path) -> None:
    trained(tmp_path, epochs=2)
    Run(tmp_path).save_metrics({"top_10_accuracy": 1.0})
    with pytest.raises(Interrupted):
        trained(tmp_path, epochs=3, batches=KilledIn(1, 1))
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "history.jsonl"}
    trained(tmp_path, epochs=3, resume=True)
    assert [entry["epoch"] for entry in Run(tmp_path).history()] == [1, 2, 3]


class Validation(Callback):
    """RMSE of what dropout would change, and what `evaluate` of Keras would print."""

    def __init__(self) -> None:
        self.model: Any = None

    def make(self, model: Movies) -> None:
        self.model = model

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        assert not self.model.training
        with torch.no_grad():
            error = (self.model(USER, MOVIE) - RATING).square().mean().sqrt()
        figures["validation/rmse"] = error if epoch != 3 else 99.0  # a tensor as well as a number
        return False


def test_early_stopping_watches_a_figure_of_a_callback(tmp_path: Path) -> None:
    validation = Validation()
    stopping = EarlyStoppingConfig(metric="validation/rmse", patience=1, mode="min")
    trained(tmp_path / "run", make=validation.make, callbacks=[validation], epochs=9, early_stopping=stopping)
    history = Run(tmp_path / "run").history()
    figures = [entry["validation/rmse"] for entry in history]
    assert len(figures) == 3
    assert figures[1] < figures[0] < figures[2] == 99.0
    trained(tmp_path / "best", epochs=2)
    assert equal(weights(tmp_path / "run"), weights(tmp_path / "best"))
    with torch.no_grad():
        error = (validation.model(USER, MOVIE) - RATING).square().mean().sqrt()
    assert error.item() == pytest.approx(figures[1])


def test_early_stopping_may_be_a_dict_that_watches_the_loss(tmp_path: Path) -> None:
    stopping = {"metric": "loss", "mode": "min", "patience": 2}
    trained(tmp_path, make=OPTIMIZERS["adagrad"], epochs=60, early_stopping=stopping)
    losses = [entry["loss"] for entry in Run(tmp_path).history()]
    assert losses.index(min(losses)) == len(losses) - 3 or len(losses) == 60


def test_threads_are_those_of_the_configuration_while_it_trains(tmp_path: Path) -> None:
    seen: list[int] = []

    class Threads(Callback):
        def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
            seen.append(torch.get_num_threads())
            return False

    before = torch.get_num_threads()
    trained(tmp_path, epochs=1, callbacks=[Threads()], threads=before + 1)
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("said", [5, 7])
def test_another_number_of_batches_than_was_said_is_refused(said: int, tmp_path: Path) -> None:
    class Wrong(ColumnBatches):
        def __len__(self) -> int:
            return said

        def epoch(self, number: int, first: int = 0) -> Iterator[dict[str, Any]]:
            yield from list(ColumnBatches(COLUMNS, 300, 1).epoch(number))[first:]

    with pytest.raises(ValueError, match=rf"gave 6 batches in an epoch, and its len\(\) is {said}"):
        trained(tmp_path, batches=Wrong(COLUMNS, 300, 1))


def test_a_loss_that_does_not_reduce_is_told_how(tmp_path: Path) -> None:
    model = build_dlrm({"user": 62, "movie": 32}, task=Ranking(MeanSquaredError(reduction="none")))
    batches = RankingBatches({"user": USER, "movie": MOVIE}, RATING, 32, 1)
    with pytest.raises(ValueError, match=r"got one of shape \[32\]: let the task's loss reduce"):
        fit(model, batches, TrainingConfig(), Run(tmp_path), show_progress=False)


@pytest.mark.parametrize("build", [build_dlrm, build_dcn])
def test_a_ranking_model_of_ratings_predicts_ratings(build: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build({"user": 62, "movie": 32}, task=Ranking(MeanSquaredError()))
    batches = RankingBatches({"user": USER, "movie": MOVIE}, RATING, 200, 1)
    fit(model, batches, TrainingConfig(epochs=30), Run(tmp_path), show_progress=False)
    with torch.no_grad():
        predicted = model({"user": USER, "movie": MOVIE})
    assert (predicted - RATING).square().mean().sqrt() < 0.3


def test_a_model_of_encoded_features_learns_both_tasks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = [[f"{kind}{number}" for number in range(count)] for kind, count in (("u", 60), ("m", 30))]
    users, movies = (TokenEncoder(Vocabulary(column)) for column in names)
    given = np.random.default_rng(0).permutation(len(RATING))
    user, movie = USER.numpy()[given] - 2, MOVIE.numpy()[given] - 2
    query = {"user": users.encode([names[0][row] for row in user])}
    candidate = {"movie": movies.encode([names[1][row] for row in movie])}
    batches = RatedBatches(query, candidate, movie, RATING[given], 300, 1, users=user)
    model = build_multi_task(
        {"user": users}, {"movie": movies}, query_key="user", candidate_key="movie", dim=8
    )
    config = TrainingConfig(epochs=40, embedding_learning_rate=0.03, dense_learning_rate=0.005)
    fit(model, batches, config, Run(tmp_path), show_progress=False)
    with torch.no_grad():
        predicted = model({"user": USER}, {"movie": MOVIE})
    assert (predicted - RATING).square().mean().sqrt() < 0.3
