"""Which parameters are tables, and what a step does to them."""

import pytest
import torch

from tests.tiny import tiny_config
from torchtowers.data.batches import Batches
from torchtowers.models.clippy_adagrad import ClippyAdagrad
from torchtowers.models.embed_reduce import EmbedReduce
from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding
from torchtowers.models.experiment import Trained, build_model
from torchtowers.models.lazy_adam import LazyAdam
from torchtowers.models.optimizers import EmbeddingOptimizer, build_optimizer, split_parameters
from torchtowers.models.row_optimizer import RowOptimizer
from torchtowers.models.row_wise_adagrad import RowWiseAdagrad
from torchtowers.models.sparse_adagrad import SparseAdagrad
from torchtowers.models.two_tower import TwoTower


@pytest.mark.parametrize("kind", ["lazy_adam", "sparse_adagrad", "row_wise_adagrad"])
def test_a_step_changes_only_the_table_rows_of_its_batch(trained: Trained, kind: EmbeddingOptimizer) -> None:
    dataset = trained.dataset
    model = build_model(tiny_config(model={"unknown_rate": 0.0}), dataset)
    assert isinstance(model, TwoTower)
    optimizer = build_optimizer(
        model, embedding_optimizer=kind, embedding_learning_rate=0.1, dense_learning_rate=0.1
    )
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = next(Batches(dataset, 8, seed=0).epoch(0))
    model.compute_loss(batch).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    name = "query_tower.tower.tables.feature_user_id.table.weight"
    changed = (model.state_dict()[name] != before[name]).any(1).nonzero().flatten().tolist()
    assert changed == sorted(set(batch.query["user_id"].tolist()))
    layer = "query_tower.tower.layers.1.weight"
    assert (model.state_dict()[layer] != before[layer]).any()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("lazy_adam", LazyAdam), ("sparse_adagrad", SparseAdagrad), ("row_wise_adagrad", RowWiseAdagrad)],
)
def test_the_optimizer_of_the_tables_can_be_chosen(
    kind: EmbeddingOptimizer, expected: type[torch.optim.Optimizer]
) -> None:
    optimizer = build_optimizer(
        TokenEmbedding(3, 2), embedding_optimizer=kind, embedding_learning_rate=0.5, dense_learning_rate=0.1
    )
    assert [type(each) for each in optimizer.optimizers] == [expected]
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_tables_are_what_says_that_it_is_sparse() -> None:
    sparse = [
        TokenEmbedding(3, 2),
        ListEmbedding(3, 2),
        torch.nn.Embedding(3, 2, sparse=True),
        torch.nn.EmbeddingBag(3, 2, sparse=True),
        EmbedReduce(3, 2, sparse=True),
    ]
    dense = [torch.nn.Embedding(3, 2), EmbedReduce(3, 2), torch.nn.Linear(2, 2)]
    tables, others = split_parameters(torch.nn.ModuleList([*sparse, *dense]))
    assert [id(table) for table in tables] == [id(module.weight) for module in sparse]
    assert [id(other) for other in others] == [id(p) for module in dense for p in module.parameters()]


def test_shared_parameters_are_learnt_once_and_frozen_ones_not() -> None:
    one, other = torch.nn.Embedding(3, 2, sparse=True), torch.nn.Embedding(3, 2, sparse=True)
    other.weight = one.weight
    frozen = torch.nn.Embedding(3, 2, sparse=True).requires_grad_(False)
    tables, others = split_parameters(torch.nn.ModuleList([one, other, frozen]))
    assert [id(table) for table in tables] == [id(one.weight)]
    assert others == []


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no optimizer"):
        build_optimizer(torch.nn.ReLU(), embedding_learning_rate=0.1, dense_learning_rate=0.1)


def test_what_says_sparse_and_is_dense_is_learnt_all_the_same() -> None:
    table = TokenEmbedding(3, 2)
    optimizer = build_optimizer(table, embedding_learning_rate=0.1, dense_learning_rate=0.1)
    table.weight.grad = torch.ones(3, 2)
    before = table.weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(table.weight.detach(), before - 0.1)


@pytest.mark.parametrize("optimizer", [LazyAdam, SparseAdagrad, RowWiseAdagrad, ClippyAdagrad])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tables_of_half_precision_are_refused(optimizer: type[RowOptimizer], dtype: torch.dtype) -> None:
    half = torch.nn.Parameter(torch.zeros(2, 3, dtype=dtype))
    with pytest.raises(ValueError, match=f"a parameter is {dtype}, .*keep the weights in float32"):
        optimizer([half])  # type: ignore[call-arg]
    for full in (torch.float32, torch.float64):
        optimizer([torch.nn.Parameter(torch.zeros(2, 3, dtype=full))])  # type: ignore[call-arg]
