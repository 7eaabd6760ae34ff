"""SparseAdagrad against Keras, by hand, and through whole trainings of TFRS."""

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from tests.models.golden import assert_close, cases, load
from torchtowers.models.clippy_adagrad import ClippyAdagrad
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.sparse_adagrad import SparseAdagrad

ADAGRAD = [name for name in cases("opt_sparse_") if "adagrad" in name]


def test_cases_are_there() -> None:
    assert len(ADAGRAD) == 2
    assert len(cases("two_tower_train_")) == 2


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", ADAGRAD)
def test_steps_are_those_of_keras(name: str, sparse: bool) -> None:
    case = load(name)
    table = Parameter(case.inputs["table"].clone())
    optimizer = SparseAdagrad(
        [table],
        lr=float(case.config["learning_rate"]),
        initial_accumulator_value=case.config["initial_accumulator_value"],
        eps=case.config["epsilon"],
    )
    for rows, values, expected in zip(
        case.inputs["ids"], case.inputs["grads"], case.outputs["table"], strict=True
    ):
        gradient = torch.sparse_coo_tensor(rows[None], values, table.shape, check_invariants=True)
        table.grad = gradient if sparse else gradient.to_dense()
        optimizer.step()
        assert_close(table, expected)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("name", cases("two_tower_train_"))
def test_training_is_that_of_tfrs(name: str, sparse: bool) -> None:
    """Eight steps of a whole model: embeddings, task with everything on, regularisation, optimizer."""
    case = load(name)
    users = torch.nn.Embedding(20, 5, sparse=sparse)
    items = torch.nn.Embedding(15, 5, sparse=sparse)
    users.load_state_dict({"weight": case.params["user_table"]})
    items.load_state_dict({"weight": case.params["item_table"]})
    task = Retrieval(
        temperature=case.config["temperature"], remove_accidental_hits=case.config["remove_accidental_hits"]
    )
    tables = [users.weight, items.weight]
    kinds = {"adagrad(0.1)": SparseAdagrad, "clippy(0.1)": ClippyAdagrad}
    optimizer = kinds[case.config["optimizer"]](tables, lr=0.1)
    for user, item, expected in zip(
        case.inputs["users"], case.inputs["items"], case.outputs["losses"], strict=True
    ):
        loss = task(users(user), items(item), candidate_ids=item)
        regularization = case.config["item_l2"] * items.weight.square().sum()
        assert_close(torch.stack([loss, regularization, loss + regularization]), expected)
        optimizer.zero_grad()
        (loss + regularization).backward()
        optimizer.step()
    assert_close(users.weight, case.outputs["user_table"])
    assert_close(items.weight, case.outputs["item_table"])


def test_rows_of_one_batch_are_summed_and_others_left_alone() -> None:
    table = Parameter(torch.ones(3, 2))
    values = torch.tensor([[1.0, 0.5], [2.0, 0.5]])
    table.grad = torch.sparse_coo_tensor(torch.tensor([[1, 1]]), values, (3, 2), check_invariants=True)
    optimizer = SparseAdagrad([table], lr=0.5, initial_accumulator_value=7.0, eps=0.0)
    optimizer.step()
    # (3, 1) squared on 7: roots of 16 and 8.
    expected = torch.tensor([[1.0, 1.0], [1 - 0.5 * 3 / 4, 1 - 0.5 / 8**0.5], [1.0, 1.0]])
    assert_close(table, expected)
    assert_close(optimizer.state[table]["accumulator"], torch.tensor([[7.0, 7.0], [16.0, 8.0], [7.0, 7.0]]))


def test_it_is_torchs_adagrad_with_other_defaults() -> None:
    tables: list[Tensor] = []
    for make in (
        lambda p: SparseAdagrad(p, lr=0.1),
        lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    ):
        torch.manual_seed(0)
        weight = Parameter(torch.randn(5, 4))
        optimizer = make([weight])
        for _ in range(4):
            weight.grad = torch.randn(5, 4)
            optimizer.step()
        tables.append(weight.data)
    torch.testing.assert_close(*tables)


def test_a_negative_value_is_refused() -> None:
    with pytest.raises(ValueError, match="lr has to be 0 or more, got -1"):
        SparseAdagrad([Parameter(torch.ones(1))], lr=-1)
