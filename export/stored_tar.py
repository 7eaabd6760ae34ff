"""A tar.gz file whose bytes follow from its members' names and content alone: nothing is deflated."""

import calendar
import io
import struct
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, Any
from zlib import crc32

from torchtowers.export.members import Member, Moment

__all__ = ["write_tar"]

_BLOCK = 65535  # of deflate's stored blocks
_HEADER = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 0, 0, 0, 255)


def write_tar(file: IO[bytes], members: Mapping[str, Member], moment: Moment, root: str) -> None:
    """Write all members below one folder, as TorchServe expects it.

    Args:
        file: Where to.
        members: By name in the archive.
        moment: The time of each; UTC.
        root: The folder's name.

    Raises:
        ArtifactError: A source can't be read or is not what its sha256 says.
        OSError: The file can't be written.
    """
    seconds = calendar.timegm(moment)
    packed: Any = _StoredGzip(file)
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name, member in sorted(members.items()):
            info = tarfile.TarInfo(f"{root}/{name}")
            info.size, info.mtime, info.mode = member.size(name), seconds, 0o644
            chunks = member.chunks(name)
            archive.addfile(info, io.BufferedReader(_Chunks(chunks), 1 << 20))
            # Reads past the end, where the sha256 is compared.
            for _ in chunks:
                pass
    packed.finish()


class _Chunks(io.RawIOBase):
    """Pieces as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


class _StoredGzip:
    """Writes gzip with no name and no time; zlib's own output differs between versions, stored or not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._crc = 0
        self._size = 0
        self._waiting = bytearray()
        file.write(_HEADER)

    def write(self, data: bytes) -> int:
        self._crc = crc32(data, self._crc)
        self._size += len(data)
        self._waiting += data
        whole = len(self._waiting) // _BLOCK * _BLOCK
        view = memoryview(bytes(self._waiting[:whole]))
        del self._waiting[:whole]
        for begin in range(0, whole, _BLOCK):
            self._block(view[begin : begin + _BLOCK], last=False)
        return len(data)

    def finish(self) -> None:
        self._block(self._waiting, last=True)
        self._file.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))

    def _block(self, data: Any, *, last: bool) -> None:
        self._file.write(struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF))
        self._file.write(data)
