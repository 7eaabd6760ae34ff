"""The pass over blocks against the plain operations: loss and gradients, with every correction."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchtowers.models import blocked_softmax as module
from torchtowers.models.blocked_softmax import blocked_softmax, runs_in_blocks
from torchtowers.models.in_batch_logits import in_batch_logits
from torchtowers.models.in_batch_softmax import in_batch_softmax

CORRECTIONS = ("temperature", "probability", "candidate_ids", "query_ids", "score_mask", "sample_weight")


@pytest.fixture(params=[1, 40, 1 << 20], ids=["a_row", "some_rows", "one_block"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", request.param)


def given(queries: int, candidates: int, *names: str, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    torch.manual_seed(queries + candidates)
    mask = torch.rand(queries, candidates) > 0.4
    mask.fill_diagonal_(True)
    everything: dict[str, Any] = {
        "score_mask": mask,
        "sample_weight": torch.rand(queries, 1, dtype=dtype),
        "temperature": 0.3,
        "probability": torch.rand(candidates).pow(8),
        "candidate_ids": torch.randint(0, max(candidates // 2, 1), (candidates,)),
        "query_ids": torch.randint(0, max(queries // 2, 1), (queries,)),
    }
    absent = {"temperature": 1.0}
    return {name: everything[name] if name in names else absent.get(name) for name in everything}


def embeddings(queries: int, candidates: int, dtype: torch.dtype = torch.float64) -> list[Any]:
    torch.manual_seed(queries * candidates)
    return [torch.randn(n, 6, dtype=dtype).requires_grad_() for n in (queries, candidates)]


def plain(queries: Tensor, candidates: Tensor, sample_weight: Tensor | None, **corrections: Any) -> Tensor:
    corrections["candidate_sampling_probability"] = corrections.pop("probability")
    logits = in_batch_logits(queries, candidates, **corrections)
    losses = F.cross_entropy(logits, torch.arange(len(logits)), reduction="none")
    return (losses if sample_weight is None else losses * sample_weight.flatten()).sum()


def assert_same(inputs: list[Any], arguments: dict[str, Any], tolerance: float = 1e-12) -> None:
    ours, theirs = blocked_softmax(*inputs, **arguments), plain(*inputs, **arguments)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for our, their in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        torch.testing.assert_close(our, their, rtol=tolerance, atol=tolerance * float(their.abs().max()))


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("names", [(), *((name,) for name in CORRECTIONS), CORRECTIONS])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 4), (7, 7), (9, 23)])
def test_loss_and_gradients_are_those_of_the_plain_operations(
    sizes: tuple[int, int], names: tuple[str, ...]
) -> None:
    assert_same(embeddings(*sizes), given(*sizes, *names))


def test_single_precision_is_as_exact_as_the_plain_operations() -> None:
    sizes, dtype = (300, 500), torch.float32
    for names in ((), CORRECTIONS):
        inputs, arguments = embeddings(*sizes, dtype), given(*sizes, *names, dtype=dtype)
        exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
        truth = plain(*exact, **arguments)
        wanted = torch.autograd.grad(truth, exact)
        errors = []
        for loss in (blocked_softmax(*inputs, **arguments), plain(*inputs, **arguments)):
            torch.testing.assert_close(loss.double(), truth, rtol=1e-6, atol=0)
            got = torch.autograd.grad(loss, inputs)
            errors.append(
                max(float((g - w).abs().max() / w.abs().max()) for g, w in zip(got, wanted, strict=True))
            )
        assert errors[0] < max(1e-6, 2 * errors[1])


@pytest.mark.usefixtures("block")
def test_gradients_are_those_of_finite_differences_and_so_are_second_ones() -> None:
    inputs, arguments = embeddings(3, 5), given(3, 5, *CORRECTIONS)

    def loss(queries: Tensor, candidates: Tensor) -> Tensor:
        return blocked_softmax(queries, candidates, **arguments)

    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)
    frozen = inputs[1].detach()
    assert torch.autograd.gradgradcheck(lambda queries: loss(queries, frozen), inputs[:1])


def test_backward_can_run_twice_and_scales() -> None:
    inputs = embeddings(4, 6)
    loss = in_batch_softmax(inputs[0], inputs[1], reduction="sum") * 3
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    first = [tensor.grad.clone() for tensor in inputs if tensor.grad is not None]
    loss.backward()  # type: ignore[no-untyped-call]
    wanted = torch.autograd.grad(3 * plain(*inputs, **given(4, 6)), inputs)
    for tensor, once, want in zip(inputs, first, wanted, strict=True):
        torch.testing.assert_close(once, want)
        torch.testing.assert_close(tensor.grad, 2 * want)


def test_what_is_frozen_gets_no_gradient() -> None:
    queries, candidates = embeddings(4, 6)
    wanted = torch.autograd.grad(plain(queries, candidates, **given(4, 6)), [queries, candidates])
    blocked_softmax(queries, candidates.detach(), **given(4, 6)).backward()  # type: ignore[no-untyped-call]
    blocked_softmax(queries.detach(), candidates, **given(4, 6)).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close([queries.grad, candidates.grad], list(wanted))
    with torch.no_grad():
        assert not blocked_softmax(queries, candidates, **given(4, 6)).requires_grad


@pytest.mark.usefixtures("block")
def test_rows_without_negatives_cost_nothing() -> None:
    inputs, arguments = embeddings(5, 5), given(5, 5)
    arguments["candidate_ids"] = torch.full((5,), 7)
    loss = blocked_softmax(*inputs, **arguments)
    assert loss.item() == 0
    for grad in torch.autograd.grad(loss, inputs):
        assert (grad == 0).all()


@pytest.mark.usefixtures("block")
def test_large_scores_neither_overflow_nor_vanish() -> None:
    inputs = embeddings(6, 9)
    assert_same([(tensor.detach() * 300).requires_grad_() for tensor in inputs], given(6, 9))
    assert_same([(tensor.detach() * 300).requires_grad_() for tensor in inputs], given(6, 9, *CORRECTIONS))
    masked = given(6, 9)
    masked["score_mask"] = torch.eye(6, 9, dtype=torch.bool)
    masked["score_mask"][0, 1] = True
    assert_same(inputs, masked)


def test_a_positive_that_is_left_out_costs_as_in_the_plain_operations() -> None:
    arguments = given(2, 3)
    arguments["score_mask"] = torch.tensor([[False, True, True], [True, True, True]])
    inputs = embeddings(2, 3)
    assert blocked_softmax(*inputs, **arguments) == plain(*inputs, **arguments) == torch.inf


@pytest.mark.usefixtures("block")
def test_an_empty_batch_costs_nothing() -> None:
    queries, candidates = torch.zeros(0, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    loss = in_batch_softmax(queries, candidates)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert candidates.grad is not None
    assert (candidates.grad == 0).all()


def test_embeddings_of_any_layout_are_taken() -> None:
    torch.manual_seed(0)
    turned = [torch.randn(6, n, dtype=torch.float64).T.requires_grad_() for n in (4, 7)]
    assert_same(turned, given(4, 7))
    one = torch.randn(1, 6, dtype=torch.float64, requires_grad=True)
    assert_same([one.expand(4, 6), turned[1]], given(4, 7))


def test_threads_and_live_graphs_do_not_disturb_each_other() -> None:
    def run(seed: int) -> bool:
        for _ in range(20):
            inputs, others = embeddings(20 + seed, 30 + seed), embeddings(20, 30)
            first = blocked_softmax(*inputs, **given(20 + seed, 30 + seed))
            second = blocked_softmax(*others, **given(20, 30))
            wanted = torch.autograd.grad(plain(*inputs, **given(20 + seed, 30 + seed)), inputs)
            got = torch.autograd.grad(first, inputs)
            torch.autograd.grad(second, others)
            if not all(torch.allclose(g, w) for g, w in zip(got, wanted, strict=True)):
                return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(4)))


def test_the_plain_operations_are_left_to_whoever_needs_them() -> None:
    queries, candidates = embeddings(4, 6, torch.float32)
    assert runs_in_blocks(queries, candidates, None, None)
    assert not runs_in_blocks(queries.bfloat16(), candidates.bfloat16(), None, None)
    assert not runs_in_blocks(queries, candidates.double(), None, None)
    assert not runs_in_blocks(queries[:, None], candidates, None, None)
    assert not runs_in_blocks(queries.to("meta"), candidates, None, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert not runs_in_blocks(queries, candidates, None, None)
        assert torch.isfinite(in_batch_softmax(queries, candidates))
    weights = torch.rand(4, requires_grad=True)
    probability = torch.rand(6, requires_grad=True)
    loss = in_batch_softmax(
        queries, candidates, sample_weight=weights, candidate_sampling_probability=probability
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    assert probability.grad is not None


def test_functional_transforms_and_compilation_agree() -> None:
    queries, candidates = (tensor.detach() for tensor in embeddings(4, 6))
    wanted = embeddings(4, 6)
    in_batch_softmax(*wanted).backward()  # type: ignore[no-untyped-call]
    grads = torch.func.grad(in_batch_softmax, argnums=(0, 1))(queries, candidates)
    torch.testing.assert_close(list(grads), [tensor.grad for tensor in wanted])
    compiled = torch.compile(in_batch_softmax, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(queries, candidates), in_batch_softmax(queries, candidates))


@pytest.mark.usefixtures("block")
def test_pairs_of_equal_ids_are_all_found() -> None:
    rows, columns = torch.tensor([3, 1, 3, 9]), torch.tensor([1, 3, 3, 2, 1])
    found = set()
    for first, last in ((0, 3), (3, 4)):
        for row, column in zip(*module._Equals(rows, columns).places(first, last), strict=True):
            found.add((int(row) + first, int(column)))
    assert found == {(0, 1), (0, 2), (1, 0), (1, 4), (2, 1), (2, 2)}


def test_ids_may_be_a_column_of_a_table() -> None:
    queries, candidates = embeddings(4, 4)
    ids = torch.tensor([[3, 9], [1, 9], [3, 9], [5, 9]])
    strided, plain = (
        in_batch_softmax(queries, candidates, candidate_ids=items, query_ids=users)
        for items, users in (ids.unbind(1), ids.T.contiguous())
    )
    torch.testing.assert_close(strided, plain)
