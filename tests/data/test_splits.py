import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.config import SplitConfig
from torchtowers.data.errors import DataError
from torchtowers.data.splits import split_random


@given(st.integers(20, 500), st.floats(0.1, 0.8), st.floats(0.0, 0.5), st.integers(0, 99))
def test_every_row_is_in_exactly_one_part(rows: int, test: float, validation: float, seed: int) -> None:
    config = SplitConfig(
        test_fraction=test, validation_fraction=validation if validation > 0.1 else 0.0, seed=seed
    )
    split = split_random(rows, config)
    together = np.concatenate([split.train, split.validation, split.test])
    assert sorted(together.tolist()) == list(range(rows))
    assert len(split.test) == round(rows * test)


def test_the_split_is_the_one_that_the_documents_state() -> None:
    order = np.random.default_rng(42).permutation(100_000)
    split = split_random(100_000, SplitConfig(test_fraction=0.2, seed=42))
    assert (split.train == order[:80_000]).all()
    assert (split.test == order[80_000:]).all()


def test_a_validation_part_leaves_the_test_rows_as_they_are() -> None:
    whole = split_random(1000, SplitConfig())
    tuned = split_random(1000, SplitConfig(validation_fraction=0.1))
    assert (whole.test == tuned.test).all()
    assert len(tuned.validation) == 80
    assert not set(tuned.validation.tolist()) & set(tuned.test.tolist())


@pytest.mark.parametrize(
    ("rows", "test", "validation"), [(1, 0.2, 0.0), (10, 0.01, 0.0), (10, 0.2, 0.01), (0, 0.5, 0.0)]
)
def test_an_empty_part_is_refused(rows: int, test: float, validation: float) -> None:
    with pytest.raises(DataError, match=r"split: \d+ interactions give .* change split\.test_fraction"):
        split_random(rows, SplitConfig(test_fraction=test, validation_fraction=validation))
