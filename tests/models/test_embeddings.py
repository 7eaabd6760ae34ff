from typing import Literal

import pytest
import torch
import torch.nn.functional as F

from torchtowers.models import embeddings
from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding, pooled_sum

LISTS = torch.tensor([[2, 3, 2, 0], [0, 4, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("limit", [0, 32_000_000])
def test_both_ways_to_pool_give_sums_and_gradients_of_the_definition(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(embeddings, "_COUNTS_LIMIT", limit)
    weight = torch.randn(6, 3, requires_grad=True)
    reference = weight.detach().clone().requires_grad_()
    present = (LISTS != 0).unsqueeze(-1)
    expected = (F.embedding(LISTS, reference) * present).sum(1)
    pooled = pooled_sum(LISTS, weight)
    torch.testing.assert_close(pooled, expected)
    factors = torch.arange(9.0).reshape(3, 3)
    (pooled * factors).sum().backward()  # type: ignore[no-untyped-call]
    (expected * factors).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert reference.grad is not None
    assert weight.grad.is_sparse
    torch.testing.assert_close(weight.grad.to_dense(), reference.grad)


@pytest.mark.parametrize(("pooling", "divisor"), [("mean", 3.0), ("sqrtn", 3.0**0.5)])
def test_list_embedding_divides_by_the_number_of_tokens(pooling: str, divisor: float) -> None:
    module = ListEmbedding(6, 2, pooling=pooling)  # type: ignore[arg-type]
    row = (2 * module.weight[2] + module.weight[3]) / divisor
    for training in (True, False):
        pooled = module.train(training)(LISTS)
        torch.testing.assert_close(pooled[0], row)
        assert pooled[2].tolist() == [0.0, 0.0]


def test_missing_is_the_zero_vector_and_stays_so() -> None:
    module = TokenEmbedding(4, 2)
    optimizer = torch.optim.SparseAdam(list(module.parameters()), lr=0.1)
    module(torch.tensor([0, 3])).sum().backward()
    optimizer.step()  # type: ignore[no-untyped-call]
    assert module.weight[0].tolist() == [0.0, 0.0]
    assert module(torch.tensor([0])).tolist() == [[0.0, 0.0]]


def test_unknown_rate_trains_the_row_of_unknown_tokens_only_in_training() -> None:
    torch.manual_seed(0)
    module = TokenEmbedding(5, 2, unknown_rate=0.5)
    indices = torch.full((1000,), 4)
    replaced = (module(indices) == module.weight[1]).all(1).float().mean().item()
    assert 0.4 < replaced < 0.6
    assert (module.eval()(indices) == module.weight[4]).all()


def test_dropout_leaves_out_tokens_and_lists_only_in_training() -> None:
    torch.manual_seed(0)
    lists = torch.full((2000, 1), 2)
    for module in (ListEmbedding(3, 2, token_dropout=0.3), ListEmbedding(3, 2, list_dropout=0.3)):
        empty = (module(lists) == 0).all(1).float().mean().item()
        assert 0.25 < empty < 0.35
        assert (module.eval()(lists) == module.weight[2]).all()


@pytest.mark.parametrize("pooling", ["mean", "sqrtn"])
def test_measured_lists_pool_as_exported_ones(pooling: Literal["mean", "sqrtn"]) -> None:
    module = ListEmbedding(6, 3, pooling=pooling).eval()
    scripted, traced = torch.jit.script(module), torch.jit.trace(module, LISTS)  # type: ignore[no-untyped-call]
    exported = torch.export.export(module, (LISTS,)).module()
    longer = torch.tensor([[5, 4, 4, 0, 2, 3, 2], [0, 0, 0, 0, 0, 0, 1]])
    for other in (scripted, traced, exported):
        torch.testing.assert_close(other(LISTS), module(LISTS))
    for other in (scripted, traced):
        torch.testing.assert_close(other(longer), module(longer))
