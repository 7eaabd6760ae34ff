"""Whether what lists an archive's members tells of all that is there; the server reads it as a stream."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from torchtowers.export.findings import Finding
from torchtowers.export.opened import OpenArchive

__all__ = ["layout_findings"]

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CHUNK = 1 << 20
_DESCRIPTORS = (12, 16, 20, 24)


def layout_findings(archive: OpenArchive) -> Iterator[Finding]:
    """Find what a file holds beside the members that it lists.

    A stream's reader takes members that a zip file's directory does not name, so that what was looked at
    would not be what is loaded.
    """
    if archive.form == "zip":
        yield from _zip(archive.path)
    elif archive.form == "tgz":
        yield from _gzip(archive.path)


def _gzip(path: Path) -> Iterator[Finding]:
    """Read to the end, where the checksum is, which lies behind what tar reads."""
    try:
        with gzip.open(path) as file:
            while file.read(_CHUNK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        yield Finding("damaged", "", f"its gzip data is damaged ({error}): build it again")


def _zip(path: Path) -> Iterator[Finding]:
    """Compare each member's own header with the directory, and find what lies between members."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        position = 0
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            name = info.orig_filename
            if info.header_offset != position:
                yield _hidden(name, f"{info.header_offset - position:,} bytes before it")
                return
            file.seek(position)
            raw = file.read(_LOCAL.size)
            if len(raw) < _LOCAL.size:
                yield _hidden(name, "no header of its own")
                return
            mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(raw)
            own = file.read(name_length).decode("utf-8" if flags & 0x800 else "cp437", "replace")
            if mark != b"PK\x03\x04" or own != name or method != info.compress_type:
                yield _hidden(name, f"another header of its own, of {own!r}")
                return
            if flags & 1:
                yield Finding("encrypted", name, "TorchServe can't read it: store it in the clear")
            position += _LOCAL.size + name_length + extra_length + info.compress_size
            if flags & 8:
                if method == zipfile.ZIP_STORED:
                    text = "stored with its size behind it, which TorchServe can't read: build it again"
                    yield Finding("unreadable-by-server", name, text)
                file.seek(position)
                position += _descriptor(file.read(24), info)
            elif crc != info.CRC or not _fits(packed, info.compress_size) or not _fits(size, info.file_size):
                yield _hidden(name, "another size or checksum in its own header")
                return
        if position != archive.start_dir:
            yield _hidden("", f"{archive.start_dir - position:,} bytes before the directory")


def _fits(own: int, listed: int) -> bool:
    # The size of a large member stands in an extra field, and the directory's is checked by reading.
    return own in (listed, 0xFFFFFFFF)


def _descriptor(raw: bytes, info: zipfile.ZipInfo) -> int:
    """Give the length of what stands behind a member: a mark or none, checksum, sizes of 4 or 8 bytes."""
    for length in _DESCRIPTORS:
        mark = b"PK\x07\x08" if length in (16, 24) else b""
        sizes = "<III" if length in (12, 16) else "<IQQ"
        if sizes == "<III" and info.file_size > 0xFFFFFFFF:
            continue
        expected = mark + struct.pack(sizes, info.CRC, info.compress_size, info.file_size)
        if raw.startswith(expected):
            return length
    return 0


def _hidden(name: str, what: str) -> Finding:
    text = f"the zip file has {what}, which its directory does not tell of: build it again"
    return Finding("hidden-content", name, text)
