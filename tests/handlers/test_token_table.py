"""Tables of distinct strings: each is found at its row, and malformed files are refused."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_texts, texts
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.token_table import TokenTable, TokenTableWriter

# "plumless" and "buckeroo" are known to have one CRC-32; as JSON texts, between quotes, they have, too.
SAME_HASH = ("plumless", "buckeroo")


@examples(60)
@given(st.lists(st.text(), unique=True), st.lists(texts))
def test_finds_what_a_dictionary_finds(tokens: list[str], others: list[str]) -> None:
    table, rows = TokenTable.of(tokens), {token: row for row, token in enumerate(tokens)}
    for token in (*tokens, *others):
        assert table.get(token, -1) == rows.get(token, -1)
    assert table.tokens() == tuple(tokens)
    table.check("ids")


def test_strings_of_one_hash_are_told_apart() -> None:
    assert len({crc32(f'"{token}"'.encode()) for token in SAME_HASH}) == 1
    table = TokenTable.of(["a", *SAME_HASH])
    assert [table.get(token, -1) for token in (*SAME_HASH, "b")] == [1, 2, -1]
    assert TokenTable.of(SAME_HASH[:1]).get(SAME_HASH[1], -1) == -1
    assert TokenTable.of(SAME_HASH[:1]).rows_in(TokenTable.of(SAME_HASH[1:])).tolist() == [-1]
    assert table.rows_in(TokenTable.of(SAME_HASH[::-1])).tolist() == [-1, 1, 0]


@examples(60)
@given(st.lists(st.text(max_size=3), unique=True), st.lists(st.text(max_size=3), unique=True))
def test_rows_in_another_table(ours: list[str], theirs: list[str]) -> None:
    one, other = TokenTable.of(ours), TokenTable.of(theirs)
    assert one.rows_in(other).tolist() == [other.get(token, -1) for token in ours]


def test_rows_of_many_strings() -> None:
    ours, theirs = [str(number) for number in range(100_000)], [str(3 * number) for number in range(50_000)]
    rows = TokenTable.of(ours).rows_in(TokenTable.of(theirs))
    expected = np.where(np.arange(100_000) % 3 == 0, np.arange(100_000) // 3, -1)
    assert np.array_equal(rows, expected)


@examples(30)
@given(st.lists(st.text(), unique=True))
def test_comes_back_from_its_files(tmp_path_factory: pytest.TempPathFactory, tokens: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    TokenTable.of(tokens).save(folder, "index/ids")
    assert TokenTable.load(folder, "index/ids").tokens() == tuple(tokens)


@examples(30)
@given(st.lists(st.text(), unique=True), st.integers(0, 9))
def test_parts_give_the_files_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[str], cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with TokenTableWriter(folder, "parts") as writer:
        for part in (tokens[:cut], tokens[cut:]):
            writer.append(json_texts([*part]))
    TokenTable.of(tokens).save(folder, "whole")
    for one, two in zip(TokenTable.files("parts"), TokenTable.files("whole"), strict=True):
        assert (folder / one).read_bytes() == (folder / two).read_bytes()


def test_the_hash_table_is_the_same_for_ever() -> None:
    # CRC-32 of `"a"` and `"b"` with their quotes.
    expected = [[0x6D0E509E, 1], [0x4623035D, 2], [0, 0], [0, 0], [0, 0]]
    assert TokenTable.of(["a", "b"])._slots.tolist() == expected


@pytest.mark.parametrize("tokens", [["a", "b", "a"], ["", ""], [*SAME_HASH, SAME_HASH[0]]])
def test_refuses_what_is_there_twice(tmp_path: Path, tokens: list[str]) -> None:
    with pytest.raises(ValueError, match="is there twice"):
        TokenTable.of(tokens)
    with (
        pytest.raises(ArtifactError, match=r"^index/ids: .* is there twice"),
        TokenTableWriter(tmp_path, "index/ids") as writer,
    ):
        writer.append(json_texts([*tokens]))


def test_refuses_what_is_no_string() -> None:
    with pytest.raises(ValueError, match="tokens have to be strings, got 7"):
        TokenTable.of(["a", 7])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "slots",
    [
        [],
        [[1, 1]] * 9,  # a search would not end
        [[0, 0]] * 4,  # fewer than two a row
        [[1, 3], *[[0, 0]] * 8],  # there is no third row
        [1] * 9,
        [[0]] * 9,
    ],
)
def test_refuses_slots_that_do_not_fit(tmp_path: Path, slots: list[object]) -> None:
    TokenTable.of(["a", "b"]).save(tmp_path, "ids")
    np.save(tmp_path / "ids.slots.npy", np.array(slots, np.uint32))
    with pytest.raises(ArtifactError, match=r"hash table|expected 2 dimensions"):
        TokenTable.load(tmp_path, "ids")


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_refuses_a_missing_file(tmp_path: Path, lost: int) -> None:
    TokenTable.of(["a"]).save(tmp_path, "ids")
    (tmp_path / TokenTable.files("ids")[lost]).unlink()
    with pytest.raises(ArtifactError, match="can't be read"):
        TokenTable.load(tmp_path, "ids")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (['"a"', "7"], "ids have to be strings, got 7"),
        (['"a"', '["b"]'], "ids have to be strings"),
        (['"a"', "b"], "ids: its values are not JSON"),
        (['"a"', r'"\u0062"'], "ids: b is not written as export writes it"),
        (['"a"', '"a"'], "ids: .* is there twice"),
        (['"a"', '"c"'], "ids: their hash table is of other strings"),
    ],
)
def test_a_check_reads_all(written: list[str], message: str) -> None:
    table = TokenTable.of(["a", "b"])
    table.check("ids")
    with pytest.raises(ArtifactError, match=message):
        TokenTable(StringTable.of(written), table._slots).check("ids")
