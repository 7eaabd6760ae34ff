import pytest

from torchtowers.models.ranking_defaults import examples_a_batch, ranking_dim


@pytest.mark.parametrize("rule", [ranking_dim, examples_a_batch])
def test_a_power_of_two_that_never_falls(rule: object) -> None:
    found = [rule(round(1.7**step)) for step in range(40)]  # type: ignore[operator]
    assert found == sorted(found)
    assert all(value & (value - 1) == 0 for value in found)
    assert rule(0) == found[0]  # type: ignore[operator]


def test_an_epoch_has_64_steps_where_there_are_examples_for_them() -> None:
    for interactions in (2_048, 10_000, 72_000, 1_000_000):
        assert interactions / examples_a_batch(interactions) >= 64
