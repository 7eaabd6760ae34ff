"""The function for every shape of input, whichever way it goes."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from torchtowers.models.in_batch_logits import in_batch_logits
from torchtowers.models.in_batch_softmax import in_batch_softmax

QUERIES = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


def test_values_by_hand() -> None:
    each = in_batch_softmax(QUERIES, QUERIES, reduction="none")
    torch.testing.assert_close(each, torch.full((2,), math.log1p(math.exp(-1.0))))
    corrected = in_batch_softmax(
        QUERIES, QUERIES, candidate_sampling_probability=torch.tensor([0.5, 0.25]), reduction="none"
    )
    expected = [math.log1p(math.exp(-1.0) * 2), math.log1p(math.exp(-1.0) / 2)]
    torch.testing.assert_close(corrected, torch.tensor(expected))


def test_the_same_user_twice_is_no_negative_of_its_own() -> None:
    zeros = torch.zeros(3, 2)
    each = in_batch_softmax(zeros, torch.zeros(4, 2), query_ids=torch.tensor([5, 6, 5]), reduction="none")
    torch.testing.assert_close(each, torch.tensor([3.0, 4.0, 3.0]).log())


@pytest.mark.parametrize("queries", [1, 5])
def test_reductions_and_paths_agree(queries: int) -> None:
    torch.manual_seed(queries)
    inputs = torch.randn(queries, 4), torch.randn(queries + 3, 4)
    mask = torch.rand(queries, queries + 3) > 0.3
    mask.fill_diagonal_(True)
    arguments: dict[str, Any] = {
        "score_mask": mask,
        "sample_weight": torch.rand(queries, 1),
        "temperature": 0.2,
        "candidate_sampling_probability": torch.rand(queries + 3),
        "candidate_ids": torch.randint(0, 4, (queries + 3,)),
        "query_ids": torch.randint(0, 3, (queries,)),
    }
    each = in_batch_softmax(*inputs, **arguments, reduction="none")
    assert each.shape == (queries,)
    torch.testing.assert_close(in_batch_softmax(*inputs, **arguments, reduction="sum"), each.sum())
    torch.testing.assert_close(in_batch_softmax(*inputs, **arguments), each.mean())
    # One head is what the plain way sees of `[queries, 1, dim]`.
    heads = in_batch_softmax(inputs[0][:, None], inputs[1], **arguments)
    torch.testing.assert_close(heads, each.mean())


def test_of_several_heads_the_largest_score_counts() -> None:
    heads = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    assert in_batch_logits(heads, torch.tensor([[2.0, 1.0], [4.0, 0.0]])).tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize("reduction", ["none", "sum"])
@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("candidate_sampling_probability", torch.ones(2, 1), r"\[2, 1\]"),
        ("candidate_ids", torch.ones(3), r"candidate_ids has shape \[3\]"),
        ("query_ids", torch.ones(1), r"query_ids has shape \[1\]"),
        ("score_mask", torch.ones(2, dtype=torch.bool), r"score_mask has shape \[2\]"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, values: Tensor, said: str, reduction: str) -> None:
    with pytest.raises(ValueError, match=said):
        in_batch_softmax(QUERIES, QUERIES, reduction=reduction, **{name: values})  # type: ignore[arg-type]


def test_settings_of_no_use_are_refused() -> None:
    with pytest.raises(ValueError, match=r"candidates \(1\) fewer than queries \(2\)"):
        in_batch_softmax(QUERIES, QUERIES[:1])
    with pytest.raises(ValueError, match='reduction is "median"'):
        in_batch_softmax(QUERIES, QUERIES, reduction="median")
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"temperature is {temperature}; give a number above 0"):
            in_batch_softmax(QUERIES, QUERIES, temperature=temperature)
