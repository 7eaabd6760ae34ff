import math

import pytest
import torch

from torchtowers.models.losses import (
    check_in_batch,
    correct_sampling,
    mine_hard_negatives,
    remove_accidental_hits,
    remove_duplicate_queries,
)


def test_sampling_correction_subtracts_the_log_and_clips() -> None:
    logits = torch.zeros(1, 3)
    corrected = correct_sampling(logits, torch.tensor([0.5, 0.0, 2.0]))
    expected = [-math.log(0.5), -math.log(1e-6), 0.0]
    torch.testing.assert_close(corrected, torch.tensor([expected]))


def test_only_the_same_item_elsewhere_is_removed() -> None:
    logits = torch.arange(6.0).reshape(2, 3)
    # Item 7 is the positive of row 0 and comes again as an extra candidate; row 1's own item does not.
    removed = remove_accidental_hits(logits, torch.tensor([7, 8, 7]))
    assert removed.tolist() == [[0.0, 1.0, -math.inf], [3.0, 4.0, 5.0]]


def test_the_other_positives_of_the_same_query_are_removed_and_extra_candidates_stay() -> None:
    logits = torch.arange(12.0).reshape(3, 4)
    removed = remove_duplicate_queries(logits, torch.tensor([5, 6, 5]))
    assert removed.tolist() == [
        [0.0, 1.0, -math.inf, 3.0],
        [4.0, 5.0, 6.0, 7.0],
        [-math.inf, 9.0, 10.0, 11.0],
    ]
    assert remove_duplicate_queries(torch.ones(1, 1), torch.tensor([5])).tolist() == [[1.0]]


def test_all_hard_negatives_are_kept_where_there_are_fewer() -> None:
    logits, labels = mine_hard_negatives(torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([[0, 1, 0]]), 9)
    assert logits.tolist() == [[1.0, 3.0, 2.0]]
    assert labels.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("probability", (3, 1), r"candidate_sampling_probability has shape \[3, 1\]"),
        ("candidate_ids", (2,), r"candidate_ids has shape \[2\].* need \[3\]"),
        ("query_ids", (3,), r"query_ids has shape \[3\].* need \[2\]"),
        ("score_mask", (1, 3), r"score_mask has shape \[1, 3\].* need \[2, 3\]"),
    ],
)
def test_shapes_that_would_spread_are_refused(name: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_in_batch(2, 3, **{name: torch.ones(shape)})


def test_ids_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match=r"candidate_ids has shape \[3\]"):
        remove_accidental_hits(torch.zeros(2, 2), torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"query_ids has shape \[3\]"):
        remove_duplicate_queries(torch.zeros(2, 3), torch.tensor([1, 2, 3]))


def test_hard_negatives_are_mined_along_the_last_dimension_of_any_rank() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    labels = torch.tensor([[0, 1, 0], [1, 0, 0]])
    mined, marks = mine_hard_negatives(logits, labels, 1)
    assert mined.tolist() == [[1.0, 3.0], [0.0, 5.0]]
    deep = mine_hard_negatives(logits[:, None].expand(2, 4, 3), labels[:, None].expand(2, 4, 3), 1)
    assert torch.equal(deep[0], mined[:, None].expand(2, 4, 2))
    assert torch.equal(deep[1], marks[:, None].expand(2, 4, 2))
    flat = mine_hard_negatives(logits[1], labels[1], 1)
    assert (flat[0].tolist(), flat[1].tolist()) == ([0.0, 5.0], [1, 0])
