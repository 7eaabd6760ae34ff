import io
import os
import struct
import zipfile
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.export.members import FIRST_MOMENT, Member
from torchtowers.export.stored_zip import write_zip
from torchtowers.handlers.errors import ArtifactError


def read_as_stream(content: bytes) -> dict[str, bytes]:
    """Read local headers from the front, as java.util.zip.ZipInputStream does, which knows no directory."""
    members: dict[str, bytes] = {}
    position = 0
    while content[position : position + 4] == b"PK\x03\x04":
        flags, method, _, _, crc, packed, size, name_length, extra_length = struct.unpack_from(
            "<HHHHIIIHH", content, position + 6
        )
        assert method == 0, "deflated"
        assert not flags & 0b1000, "its size comes only after the content"
        assert packed == size
        name_at = position + 30
        encoding = "utf-8" if flags & 0x800 else "ascii"
        name = content[name_at : name_at + name_length].decode(encoding)
        begin = name_at + name_length + extra_length
        assert name not in members
        members[name] = content[begin : begin + size]
        assert crc32(members[name]) == crc
        position = begin + size
    assert content[position : position + 2] == b"PK"  # the directory, which a stream's reader passes over
    return members


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@given(st.dictionaries(names, st.binary(max_size=100), max_size=8), st.randoms())
def test_bytes_follow_from_names_and_contents_in_any_order(
    contents: dict[str, bytes], random: object
) -> None:
    members = {name: Member.of(content) for name, content in contents.items()}
    first, second = io.BytesIO(), io.BytesIO()
    write_zip(first, members, FIRST_MOMENT)
    shuffled = list(members)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    write_zip(second, {name: members[name] for name in shuffled}, FIRST_MOMENT)
    assert first.getvalue() == second.getvalue()
    assert read_as_stream(first.getvalue()) == contents
    with zipfile.ZipFile(first) as archive:
        assert archive.namelist() == sorted(contents)
        assert all(info.external_attr >> 16 == 0o100644 for info in archive.infolist())


def test_file_is_written_as_its_content_whatever_its_rights_and_times(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    first, second = io.BytesIO(), io.BytesIO()
    write_zip(first, {"a": Member.of(source)}, FIRST_MOMENT)
    source.chmod(0o600)
    os.utime(source, (10**9, 10**9))
    write_zip(second, {"a": Member.of(source)}, FIRST_MOMENT)
    assert first.getvalue() == second.getvalue()
    assert read_as_stream(first.getvalue()) == {"a": b"x" * 3_000_000}


@pytest.mark.parametrize("after", [b"other", b"longer than before", b""])
def test_source_that_changed_since_it_was_hashed_is_refused(tmp_path: Path, after: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"first")
    member = Member.of(source)
    source.write_bytes(after)
    with pytest.raises(ArtifactError, match=r"tower\.pt was altered, or changed while it was packaged"):
        write_zip(io.BytesIO(), {"tower.pt": member}, FIRST_MOMENT)


def test_source_that_went_away_is_no_error_of_the_target(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"first")
    member = Member.of(source)
    source.unlink()
    with pytest.raises(ArtifactError, match=r"tower\.pt can't be read: No such file or directory"):
        write_zip(io.BytesIO(), {"tower.pt": member}, FIRST_MOMENT)
