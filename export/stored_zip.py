"""A zip file whose bytes follow from its members' names and content alone, and that can be read as a stream.

Members are stored in the order of their names with one fixed time and fixed rights. They are stored and not
deflated: embeddings hardly shrink, and deflate's output changes with zlib's version.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import sha256_of

__all__ = ["FIRST_MOMENT", "LAST_YEAR", "Member", "Moment", "write_zip"]

Moment = tuple[int, int, int, int, int, int]

# What a zip file can hold.
FIRST_MOMENT: Moment = (1980, 1, 1, 0, 0, 0)
LAST_YEAR = 2107

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file to be: its content, or where that lies, and the content's sha256.

    A file that changes between hashing and writing is refused: an archive holds what its manifest says.
    """

    source: bytes | Path
    sha256: str

    @classmethod
    def of(cls, source: bytes | Path) -> "Member":
        """Hash the content."""
        return cls(source, sha256(source).hexdigest() if isinstance(source, bytes) else sha256_of(source))


def write_zip(file: IO[bytes], members: Mapping[str, Member], moment: Moment) -> None:
    """Write all members.

    Args:
        file: Seekable. A stream's reader needs sizes before the content, so zipfile goes back to write them.
        members: By name in the archive.
        moment: The time of each; UTC.

    Raises:
        ArtifactError: A source can't be read or is not what was hashed.
        OSError: The file can't be written.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, member in sorted(members.items()):
            info = zipfile.ZipInfo(name, moment)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            digest = sha256()
            info.file_size, chunks = _open(name, member.source)
            with archive.open(info, "w") as target:
                for chunk in chunks:
                    digest.update(chunk)
                    target.write(chunk)
            if digest.hexdigest() != member.sha256:
                raise ArtifactError(f"{name} changed while it was packaged; build the archive again")


def _open(name: str, source: bytes | Path) -> tuple[int, Iterator[bytes]]:
    if isinstance(source, bytes):
        return len(source), iter([source])
    try:
        return source.stat().st_size, _chunks(name, source)
    except OSError as error:
        raise _unreadable(name, error) from error


def _chunks(name: str, source: Path) -> Iterator[bytes]:
    # An error of reading is not to be taken for one of writing.
    try:
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> ArtifactError:
    return ArtifactError(f"{name} can't be read: {error.strerror or error}")
