"""Ids to rows, in the order in which they come."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.data.id_rows import IdHashes, IdRows, hashes_of

BATCHES = st.lists(st.lists(st.text(max_size=3), max_size=12), max_size=6)


@given(BATCHES)
def test_new_ids_are_numbered_as_they_come(batches: list[list[str]]) -> None:
    rows, expected = IdRows(), dict[str, int]()
    for batch in batches:
        for token in batch:
            expected.setdefault(token, len(expected))
        found = rows.encode(pl.Series(batch, dtype=pl.String))
        assert found.tolist() == [expected[token] for token in batch]
        assert rows.tokens == list(expected)


@given(BATCHES, st.lists(st.text(max_size=3), unique=True))
def test_known_ids_keep_their_rows_and_there_are_no_others(
    batches: list[list[str]], known: list[str]
) -> None:
    rows = IdRows(pl.Series(known, dtype=pl.String))
    for batch in batches:
        found = rows.encode(pl.Series(batch, dtype=pl.String))
        assert found.tolist() == [known.index(token) if token in known else -1 for token in batch]
    assert rows.tokens == known


def test_two_of_them_do_not_share_numbers() -> None:
    first, second = IdRows(), IdRows()
    assert first.encode(pl.Series(["a", "b"])).tolist() == [0, 1]
    assert second.encode(pl.Series(["b", "a"])).tolist() == [0, 1]


@given(st.lists(st.text(max_size=3), unique=True), st.lists(st.text(max_size=3)))
def test_hashes_stand_for_their_ids(known: list[str], asked: list[str]) -> None:
    ids = IdHashes()
    for part in (known[::2], known[1::2]):
        ids.add(hashes_of(pl.Series(part, dtype=pl.String)))
    order = known[::2] + known[1::2]
    assert len(ids) == len(known)
    found = ids.find(hashes_of(pl.Series(asked, dtype=pl.String)))
    assert found.tolist() == [order.index(token) if token in order else -1 for token in asked]
