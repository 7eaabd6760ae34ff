"""Smaller weights: how far values are off, and that they are in every format what they are in eager mode."""

import io

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tests.models.exportable import EXPORTABLE
from tests.models.onnx_session import exported
from tests.models.test_exportable import assert_equal, leaves, session_inputs
from torchtowers.models.embeddings import ListEmbedding, Table, TokenEmbedding
from torchtowers.models.smaller import SMALLER, smaller

INDICES = torch.arange(50)


def holds_weights(name: str) -> bool:
    module = EXPORTABLE[name][0]()
    return any(isinstance(part, Table | nn.Linear) for part in module.modules())


WEIGHTY = [name for name in EXPORTABLE if holds_weights(name)]


def test_there_is_something_to_make_smaller() -> None:
    assert {"HistoryTower", "ListEmbedding", "MLP", "Ranker", "Tower", "WeightedListEmbedding"} <= set(
        WEIGHTY
    )


@pytest.mark.parametrize("dtype", SMALLER)
@pytest.mark.parametrize("name", WEIGHTY)
def test_torchscript_is_equal_to_eager(name: str, dtype: str) -> None:
    make, inputs = EXPORTABLE[name]
    module = smaller(make().eval(), dtype)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for batch in (1, 7):
        given = inputs(batch)
        assert_equal(scripted(*given), module(*given))


@pytest.mark.parametrize("dtype", SMALLER)
@pytest.mark.parametrize("name", ["ListEmbedding", "MLP", "TokenEmbedding", "WeightedListEmbedding"])
def test_onnx_is_equal_to_eager(name: str, dtype: str) -> None:
    make, inputs = EXPORTABLE[name]
    module = smaller(make().eval(), dtype)
    session: onnxruntime.InferenceSession = exported(module, inputs(2))
    for batch in (1, 7):
        given = inputs(batch)
        wanted = module(*given)
        feed = dict(zip(session_inputs(session), leaves(given), strict=True))
        answers = session.run(None, {key: tensor.numpy() for key, tensor in feed.items()})
        assert_equal([torch.from_numpy(answer) for answer in answers], wanted)


@pytest.mark.parametrize("dtype", SMALLER)
@pytest.mark.parametrize("name", WEIGHTY)
def test_no_large_weight_is_left(name: str, dtype: str) -> None:
    module = smaller(EXPORTABLE[name][0]().eval(), dtype)
    wanted = torch.int8 if dtype == "int8" else torch.float16
    for part in module.modules():
        assert not isinstance(part, nn.Linear)
        if isinstance(part, Table):
            assert part.weight.dtype == wanted
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_int8_is_off_by_half_a_step() -> None:
    table = TokenEmbedding(50, 8)
    steps = table.weight.detach().abs().amax(1, keepdim=True) / 127
    difference = (smaller(table, "int8")(INDICES) - table(INDICES)).abs()
    assert (difference <= steps * 0.5 + 1e-8).all()
    # And not by less throughout, as if nothing had been rounded.
    assert (difference > steps * 0.25).any()


def test_float16_is_rounded_to_the_nearest() -> None:
    table = TokenEmbedding(50, 8)
    assert torch.equal(smaller(table, "float16")(INDICES), table.weight.half().float())


def test_a_row_of_zeros_stays_one() -> None:
    table = smaller(TokenEmbedding(3, 4), "int8")
    assert torch.equal(table(torch.tensor([0])), torch.zeros(1, 4))
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight[0] = 0
    answer = smaller(layer, "int8")(torch.ones(1, 4))
    assert answer[0, 0] == layer.bias[0]


def test_the_model_itself_stays_as_it_is() -> None:
    table = TokenEmbedding(50, 8)
    before = table.weight.detach().clone()
    smaller(table, "int8")
    assert isinstance(table.weight, nn.Parameter)
    assert table.weight.requires_grad
    assert torch.equal(table.weight, before)


def test_a_shared_table_stays_shared() -> None:
    first, second = TokenEmbedding(50, 8), ListEmbedding(50, 8)
    second.weight = first.weight
    one, other = smaller(nn.ModuleList([first, second]), "int8").children()
    assert one.weight is other.weight
    assert one.scale is other.scale


def test_pooling_passes_over_padding() -> None:
    table = smaller(ListEmbedding(50, 8), "int8")
    lists = torch.tensor([[0, 7, 0, 9], [0, 0, 0, 0]])
    rows = table.rows(torch.tensor([7, 9]))  # type: ignore[operator]
    torch.testing.assert_close(table(lists), torch.stack([rows.mean(0), torch.zeros(8)]))


@pytest.mark.parametrize(
    ("weight", "dtype", "message"),
    [
        (torch.full((2, 2), 1e6), "float16", "a weight of 1e.06 is beyond float16: choose int8"),
        (torch.tensor([[1.0, np.nan]]), "int8", "a weight is not finite"),
        (torch.tensor([[1.0, np.inf]]), "float16", "a weight is not finite"),
        (torch.ones(2, 2), "int4", "weights: expected one of float16, int8, got 'int4'"),
    ],
)
def test_what_cannot_be_made_smaller(weight: Tensor, dtype: str, message: str) -> None:
    layer = nn.Linear(2, len(weight))
    layer.weight = nn.Parameter(weight)
    with pytest.raises(ValueError, match=message):
        smaller(layer, dtype)
