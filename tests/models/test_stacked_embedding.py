"""Stacked tables against tables of their own, lists against averages worked out by hand."""

import io
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from torchtowers.models.embed_reduce import Combiner
from torchtowers.models.errors import RunError
from torchtowers.models.run import Run
from torchtowers.models.stacked_embedding import StackedEmbedding

SIZES = {"user": 4, "age": 3, "genres": 5}


def features(batch: int) -> dict[str, Tensor]:
    return {name: torch.randint(0, size, (batch,)) for name, size in SIZES.items()}


def counted(combiner: Combiner = "mean") -> StackedEmbedding:
    """Row 0 of age is 0, its row 1 is 1, row 0 of genres is 3 and so on, twice each."""
    embedding = StackedEmbedding(SIZES, 2, combiner=combiner)
    with torch.no_grad():
        embedding.weight.copy_(torch.arange(12.0)[:, None].expand(12, 2))
    return embedding


@pytest.mark.parametrize("batch", [0, 1, 6])
def test_rows_are_those_of_each_features_own_table_in_the_order_of_names(batch: int) -> None:
    embedding = StackedEmbedding(SIZES, 3)
    given = features(batch)
    assert embedding.names == ["age", "genres", "user"]
    expected = [F.embedding(given[name], embedding.table(name)) for name in embedding.names]
    rows = embedding(given)
    assert rows.shape == (batch, 3, 3)
    assert torch.equal(rows, torch.stack(expected, 1))


def test_the_gradient_is_one_sparse_tensor_equal_to_the_dense_one() -> None:
    sparse, dense = StackedEmbedding(SIZES, 2), StackedEmbedding(SIZES, 2, sparse=False)
    dense.load_state_dict(sparse.state_dict())
    given = features(5)
    for embedding in (sparse, dense):
        embedding(given).square().sum().backward()
    assert sparse.weight.grad is not None
    assert dense.weight.grad is not None
    assert sparse.weight.grad.is_sparse
    assert sparse.weight.grad._nnz() == 15
    torch.testing.assert_close(sparse.weight.grad.to_dense(), dense.weight.grad)


@pytest.mark.parametrize(("combiner", "expected"), [("mean", 6.0), ("sum", 12.0), ("sqrtn", 12.0 / 2**0.5)])
def test_lists_are_combined_without_their_padding(combiner: Combiner, expected: float) -> None:
    # Genres 2 and 4 are rows 5 and 7.
    given = {
        "genres": torch.tensor([[2, 0, 4], [0, 0, 0]]),
        "age": torch.tensor([0, 1]),
        "user": torch.tensor([3, 0]),
    }
    rows = counted(combiner)(given)
    torch.testing.assert_close(rows[:, :, 0], torch.tensor([[0.0, expected, 11.0], [1.0, 0.0, 8.0]]))
    assert torch.equal(rows[..., 0], rows[..., 1])


def test_lists_have_one_gradient_with_the_single_ones_and_padding_none() -> None:
    embedding = counted()
    given = {"genres": torch.tensor([[2, 0, 4]]), "age": torch.tensor([1]), "user": torch.tensor([3])}
    embedding(given).sum().backward()
    assert embedding.weight.grad is not None
    gradient = embedding.weight.grad.to_dense()[:, 0]
    assert gradient.nonzero().flatten().tolist() == [1, 5, 7, 11]
    assert gradient[[1, 5, 7, 11]].tolist() == [1.0, 0.5, 0.5, 1.0]


def test_all_features_may_be_lists() -> None:
    given = {name: torch.tensor([[1, 2, 0], [2, 0, 0]]) for name in SIZES}
    rows = counted()(given)
    torch.testing.assert_close(rows[:, :, 0], torch.tensor([[1.5, 4.5, 9.5], [2.0, 5.0, 10.0]]))


def test_rows_start_as_those_of_tfrs() -> None:
    weight = StackedEmbedding({"user": 4000}, 16).weight
    assert weight.abs().max() <= 0.5
    # A normal of 1 / 4 that is cut off at two deviations has 0.88 of it.
    assert abs(weight.std().item() - 0.22) < 0.005


def test_torchscript_is_equal_to_eager() -> None:
    embedding = StackedEmbedding(SIZES, 3)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(embedding), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for batch in (1, 2, 7):
        for genres in (torch.randint(0, 5, (batch,)), torch.randint(0, 5, (batch, 4))):
            given = {**features(batch), "genres": genres}
            for _ in range(3):
                torch.testing.assert_close(scripted(given), embedding(given))


def test_errors_say_what_came() -> None:
    embedding = StackedEmbedding(SIZES, 2)
    given = features(2)
    with pytest.raises(ValueError, match="feature age is missing: got user"):
        embedding({"user": given["user"]})
    with pytest.raises(
        ValueError, match=r"feature age must be \[batch\] or \[batch, length\], got \[1, 1, 1\]"
    ):
        embedding({**given, "age": torch.zeros(1, 1, 1, dtype=torch.int64)})
    # Another feature's row, were it not refused.
    with pytest.raises(IndexError, match="index 3 is outside its feature's table, whose rows are 0 to 2"):
        embedding({**given, "age": torch.tensor([0, 3])})
    with pytest.raises(IndexError, match="index -1 is outside"):
        embedding({**given, "user": torch.tensor([[-1, 0], [0, 1]])})
    with pytest.raises(ValueError, match="there are no features"):
        StackedEmbedding({}, 2)
    with pytest.raises(ValueError, match=r"at least 1, got \{'a': 0\} and dim 2"):
        StackedEmbedding({"a": 0}, 2)
    with pytest.raises(ValueError, match="combiner must be one of mean, sum, sqrtn, got 'max'"):
        StackedEmbedding({"a": 1}, 2, combiner="max")  # type: ignore[arg-type]


@pytest.mark.parametrize("sizes", [{"a": 5, "b": 3}, {"a": 3, "c": 5}, {"a": 8}])
def test_a_state_of_other_features_is_refused_though_its_rows_are_as_many(
    sizes: dict[str, int], tmp_path: Path
) -> None:
    trained, same, other = (StackedEmbedding(each, 2) for each in ({"a": 3, "b": 5}, {"b": 5, "a": 3}, sizes))
    model = torch.nn.Sequential(trained)
    run = Run(tmp_path)
    run.save_model(model)
    for load in (
        lambda into: into.load_state_dict(model.state_dict()),
        lambda into: run.load_model(into),
    ):
        load(torch.nn.Sequential(same))
        assert torch.equal(same.table("b"), trained.table("b"))
        before = other.weight.detach().clone()
        with pytest.raises(
            (RuntimeError, RunError), match=r'0.weight is of the features {"a": 3, "b": 5}, but'
        ):
            load(torch.nn.Sequential(other))
        assert torch.equal(other.weight, before)
