"""The task as TorchScript and as ONNX, and what TFRS's golden cases leave open."""

import io
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.onnx_session import exported
from torchtowers.models.retrieval import Retrieval


def smoothed(logits: Tensor, positives: Tensor) -> Tensor:
    return F.cross_entropy(logits, positives, reduction="none", label_smoothing=0.1)


class Smoothed(nn.Module):
    def forward(self, logits: Tensor, positives: Tensor) -> Tensor:
        return smoothed(logits, positives)


NAMES = ("queries", "candidates", "weight", "probability", "ids")
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "all": {"temperature": 0.3, "remove_accidental_hits": True, "remove_duplicate_queries": True},
    "hard": {"num_hard_negatives": 3, "reduction": "mean"},
    "none": {"reduction": "none"},
    "module": {"loss": Smoothed()},
    "own": {"loss": nn.CrossEntropyLoss(reduction="none"), "temperature": 0.5},
    "function": {"loss": smoothed, "num_hard_negatives": 2},
}


def given(queries: int, extra: int = 0) -> list[Tensor]:
    candidates = queries + extra
    return [
        torch.randn(queries, 4),
        torch.randn(candidates, 4),
        torch.rand(queries),
        torch.rand(candidates),
        torch.randint(0, 3, (candidates,)),
        torch.rand(queries, candidates).fill_diagonal_(1.0) > 0.3,
        torch.randint(0, 3, (queries,)),
    ]


@pytest.mark.parametrize("name", SETTINGS)
def test_torchscript_is_equal_to_eager(name: str) -> None:
    task = Retrieval(**SETTINGS[name])
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(task), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for queries in (1, 2, 7):
        for _ in range(3):
            inputs = given(queries, extra=2)
            torch.testing.assert_close(scripted(*inputs), task(*inputs))
            heads = [torch.randn(queries, 2, 4), *inputs[1:]]
            torch.testing.assert_close(scripted(*heads), task(*heads))


class OfBatch(nn.Module):
    """As many candidates as queries, and a mask made of one value each: the batch is dimension 0 of all."""

    def __init__(self, task: Retrieval) -> None:
        super().__init__()
        self.task = task

    def forward(
        self, queries: Tensor, candidates: Tensor, weight: Tensor, probability: Tensor, ids: Tensor
    ) -> Tensor:
        numbers = torch.arange(queries.size(0), device=queries.device)
        mask = torch.logical_or(weight[None, :] > 0.3, numbers[:, None] == numbers[None, :])
        loss: Tensor = self.task(queries, candidates, weight, probability, ids, mask, ids)
        return loss


@pytest.mark.parametrize("name", ["all", "hard", "none", "own"])
def test_onnx_is_equal_to_eager(name: str) -> None:
    # A batch may have fewer hard negatives than are wanted.
    task = OfBatch(Retrieval(**SETTINGS[name])).eval()
    session = exported(task, given(5)[:5])
    for queries in (1, 2, 7):
        inputs = given(queries)[:5]
        feed = {name: value.numpy() for name, value in zip(NAMES, inputs, strict=True)}
        wanted = {value.name for value in session.get_inputs()}
        (answer,) = session.run(None, {name: feed[name] for name in wanted})
        torch.testing.assert_close(torch.from_numpy(answer), task(*inputs), rtol=1e-5, atol=1e-5)


def test_a_loss_may_be_a_function_or_a_module_and_is_the_same() -> None:
    inputs = given(4, extra=1)
    losses = [
        Retrieval(loss=loss)(*inputs)
        for loss in (
            smoothed,
            Smoothed(),
            partial(F.cross_entropy, reduction="none", label_smoothing=0.1),
        )
    ]
    torch.testing.assert_close(losses[1:], losses[:1] * 2)


def test_the_default_loss_is_the_plain_cross_entropy() -> None:
    inputs = given(6, extra=2)
    for settings in (SETTINGS["default"], SETTINGS["all"]):
        for reduction in ("sum", "mean"):
            ours = Retrieval(**settings, reduction=reduction)
            plain = Retrieval(
                loss=partial(F.cross_entropy, reduction="none"),
                **settings,
                reduction=reduction,
            )
            torch.testing.assert_close(ours(*inputs), plain(*inputs))


def test_a_user_who_comes_twice_is_no_negative_of_its_own() -> None:
    zeros, users = torch.zeros(3, 2), torch.tensor([4, 5, 4])
    task = Retrieval(remove_duplicate_queries=True, reduction="none")
    torch.testing.assert_close(task(zeros, zeros, query_ids=users), torch.tensor([2.0, 3.0, 2.0]).log())
    with pytest.raises(ValueError, match="needs query_ids"):
        task(zeros, zeros)
    # Without the option the ids change nothing, as with the candidates'.
    kept = Retrieval(reduction="none")(zeros, zeros, query_ids=users, candidate_ids=users)
    torch.testing.assert_close(kept, torch.full((3,), 3.0).log())


@pytest.mark.parametrize("loss", [torch.nn.CrossEntropyLoss(), F.cross_entropy])
def test_a_loss_that_reduces_itself_is_refused(loss: Any) -> None:
    for queries in (1, 3):
        batch = torch.ones(queries, 2)
        for task in (Retrieval(loss=loss), torch.jit.script(Retrieval(loss=Reducing()))):
            with pytest.raises(Exception, match=rf"one number a query, \[{queries}\], got \[\].*'none'"):
                task(batch, batch)
            with pytest.raises(Exception, match=r"got \[\]"):
                task(batch, batch, torch.ones(queries))


def test_a_loss_of_another_shape_is_refused() -> None:
    def whole(logits: Tensor, positives: Tensor) -> Tensor:
        return logits

    with pytest.raises(ValueError, match=r"\[2\], got \[2, 2\]"):
        Retrieval(loss=whole)(torch.ones(2, 3), torch.ones(2, 3))


class Reducing(torch.nn.Module):
    def forward(self, logits: Tensor, positives: Tensor) -> Tensor:
        return F.cross_entropy(logits, positives)


def test_what_is_no_tensor_is_refused() -> None:
    task, rows = Retrieval(remove_accidental_hits=True, remove_duplicate_queries=True), torch.ones(2, 3)
    for name in ("candidate_ids", "query_ids"):
        with pytest.raises(TypeError, match=f"{name} has to be a tensor, got a list; ids are an int64"):
            task(rows, rows, **{name: ["a", "b"]})
    for name in ("sample_weight", "candidate_sampling_probability", "score_mask"):
        with pytest.raises(TypeError, match=f"{name} has to be a tensor, got a list$"):
            task(rows, rows, **{name: [0.5, 0.5]})
