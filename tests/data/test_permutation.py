"""Orders that are computed place by place are permutations, and follow from the seed."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchtowers.data.permutation import Permutation


def test_small_ones_are_those_of_numpy() -> None:
    order = np.random.default_rng([3, 1]).permutation(1000)
    assert (Permutation(1000, [3, 1]).between(0, 1000) == order).all()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3000), st.integers(0, 9))
def test_every_number_has_one_place(rows: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torchtowers.data.permutation._ARRAY_BELOW", 0)
        order = Permutation(rows, seed)
        whole = order.between(0, rows)
        assert sorted(whole.tolist()) == list(range(rows))
        assert (np.concatenate([order.between(0, rows // 2), order.between(rows // 2, rows)]) == whole).all()
        assert len(order) == rows


def test_large_ones_have_no_order_left() -> None:
    rows = 5_000_000
    order, other = (Permutation(rows, seed).between(0, 100_000) for seed in (1, 2))
    assert len(set(order.tolist())) == len(order)
    # Of uniform numbers: the mean within five standard errors, each tenth as often, and no neighbours' trend.
    assert abs(order.mean() / rows - 0.5) < 5 / np.sqrt(12 * len(order))
    counts = np.bincount(order * 10 // rows)
    assert abs(counts - 10_000).max() < 5 * np.sqrt(10_000)
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 5 / np.sqrt(len(order))
    assert abs(np.corrcoef(order, other)[0, 1]) < 5 / np.sqrt(len(order))
