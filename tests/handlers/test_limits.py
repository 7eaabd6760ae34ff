"""What a configuration may limit."""

import pytest

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.limits import Limits


def test_limits_from_a_configuration_with_other_keys() -> None:
    assert Limits.from_config({"max_k": 7, "threads": 1}) == Limits(max_k=7)
    assert Limits.from_config({"max_candidates": 9, "max_scores": 8}) == Limits(
        max_candidates=9, max_scores=8
    )
    assert Limits.from_config({}) == Limits()


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "10", None, [10]])
def test_a_limit_has_to_be_a_positive_integer(value: object) -> None:
    with pytest.raises(ArtifactError, match=r"torchtowers.max_rows: expected a positive integer, got "):
        Limits.from_config({"max_rows": value})
