"""Biases of pairs of values."""

import pytest
import torch

from torchtowers.handlers.encoders import BucketEncoder, Encoder, TokenEncoder, TokenListEncoder, Vocabulary
from torchtowers.models.feature_cross import FeatureCross, build_feature_crosses

ENCODERS: dict[str, Encoder] = {
    "gender": TokenEncoder(Vocabulary("fm")),
    "age": BucketEncoder([18, 30]),
    "genres": TokenListEncoder(Vocabulary("xyz"), 3),
}


def every_pair(first: int, second: int) -> dict[str, torch.Tensor]:
    return {
        "a": torch.arange(first).repeat_interleave(second),
        "b": torch.arange(second).repeat(first),
    }


def rows_of(cross: FeatureCross, features: dict[str, torch.Tensor]) -> torch.Tensor:
    """Tell which row each pair has, by rows that hold their own number."""
    with torch.no_grad():
        cross.table.weight.copy_(torch.arange(len(cross.table.weight))[:, None])
    rows: torch.Tensor = cross(features).detach().squeeze(1).long()
    return rows


def test_each_pair_has_its_own_row_where_there_is_room() -> None:
    cross = FeatureCross("a", "b", (3, 4), buckets=12)
    assert torch.equal(rows_of(cross, every_pair(3, 4)), torch.arange(1, 13))


def test_pairs_are_hashed_evenly_where_there_is_not() -> None:
    rows = rows_of(FeatureCross("a", "b", (100, 50), buckets=1000), every_pair(100, 50))
    counts = torch.bincount(rows, minlength=1001)
    assert counts[0] == 0
    assert torch.count_nonzero(counts) > 700
    assert counts.max() < 25


def test_begins_at_zero_and_learns_of_every_pair_also_of_missing_values() -> None:
    cross = FeatureCross("a", "b", (3, 4))
    features = every_pair(3, 4)
    assert not cross(features).any()
    cross(features).sum().backward()
    gradient = cross.table.weight.grad
    assert gradient is not None
    assert torch.equal(gradient.to_dense()[1:], torch.ones(12, 1))


def test_learns_what_the_sum_of_two_biases_can_not() -> None:
    """Exclusive or: neither value says anything alone."""
    cross = FeatureCross("a", "b", (2, 2))
    features, wanted = every_pair(2, 2), torch.tensor([1.0, -1, -1, 1])
    optimizer = torch.optim.SGD(cross.parameters(), lr=0.5)
    for _ in range(50):
        optimizer.zero_grad()
        (cross(features).squeeze(1) - wanted).square().sum().backward()
        optimizer.step()
    torch.testing.assert_close(cross(features).squeeze(1).detach(), wanted, atol=1e-3, rtol=0)


def test_is_built_for_the_features_that_are_named() -> None:
    (name, cross), *rest = build_feature_crosses(ENCODERS, [("gender", "age")]).items()
    assert (name, rest) == ("gender_x_age", [])
    assert cross({"gender": torch.tensor([2, 3]), "age": torch.tensor([0, 3])}).shape == (2, 1)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("gender", "hour"), "crosses: hour is no feature; there are gender, age, genres"),
        (("genres", "age"), "crosses: genres is of kind token_list, and only features of one index"),
        (("age", "age"), "crosses: age can't be crossed with itself"),
    ],
)
def test_refuses_what_can_not_be_crossed(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_feature_crosses(ENCODERS, [pair])


def test_refuses_no_rows() -> None:
    with pytest.raises(ValueError, match="buckets has to be at least 1, got 0"):
        FeatureCross("a", "b", (2, 2), buckets=0)
