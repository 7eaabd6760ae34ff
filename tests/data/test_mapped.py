"""Arrays in files without a name."""

import numpy as np
import pytest

from torchtowers.data.mapped import Growing, mapped, spans


def test_an_array_grows_and_can_be_written() -> None:
    grown = Growing(np.float32, width=2)
    grown.append(np.array([[1, 2]]))
    grown.append(np.empty((0, 2)))
    grown.append(np.array([[3, 4], [5, 6]]))
    array = grown.finish()
    assert type(array) is np.ndarray
    assert array.dtype == np.float32
    assert array.tolist() == [[1, 2], [3, 4], [5, 6]]
    array[0] = 7
    assert array[0].tolist() == [7, 7]


def test_nothing_in_it_is_an_empty_array() -> None:
    assert Growing(np.int64).finish().shape == (0,)
    assert Growing(np.float32, width=3).finish().shape == (0, 3)
    assert mapped(0, np.int64).shape == (0,)


def test_zeros_to_begin_with() -> None:
    assert mapped(5, np.int64).tolist() == [0] * 5


def test_spans_cover_all_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchtowers.data.mapped.ROWS_AT_ONCE", 4)
    assert list(spans(10)) == [(0, 4), (4, 8), (8, 10)]
    assert list(spans(0)) == [(0, 0)]
