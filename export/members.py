"""What goes into an archive: a name, the content or where it lies, and the content's sha256."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from torchtowers.export.opened import Entry
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import sha256_of

__all__ = ["FIRST_MOMENT", "LAST_YEAR", "Member", "Moment"]

Moment = tuple[int, int, int, int, int, int]

# What a zip file can hold.
FIRST_MOMENT: Moment = (1980, 1, 1, 0, 0, 0)
LAST_YEAR = 2107

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file to be; its content is read once and refused where it is not what the sha256 says.

    Args:
        source: The content, the file that it is in, or the member of another archive.
        sha256: The content's.
    """

    source: bytes | Path | Entry
    sha256: str

    @classmethod
    def of(cls, source: bytes | Path) -> "Member":
        """Hash the content."""
        return cls(source, sha256(source).hexdigest() if isinstance(source, bytes) else sha256_of(source))

    def size(self, name: str) -> int:
        """Give the content's bytes.

        Raises:
            ArtifactError: The file is not there.
        """
        try:
            if isinstance(self.source, Path):
                return self.source.stat().st_size
            return len(self.source) if isinstance(self.source, bytes) else self.source.size
        except OSError as error:
            raise _unreadable(name, error) from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """Give the content in pieces.

        Raises:
            ArtifactError: The file can't be read; or, at the end, its content is not what the sha256 says.
        """
        digest = sha256()
        for chunk in _pieces(name, self.source):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != self.sha256:
            raise ArtifactError(
                f"{name} was altered, or changed while it was packaged: its sha256 is not the signature's; "
                "export it again"
            )


def _pieces(name: str, source: bytes | Path | Entry) -> Iterable[bytes]:
    if isinstance(source, Path):
        return _read(name, source)
    return [source] if isinstance(source, bytes) else source.chunks()


def _read(name: str, source: Path) -> Iterator[bytes]:
    # An error of reading is not to be taken for one of writing.
    try:
        with source.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: OSError) -> ArtifactError:
    return ArtifactError(f"{name} can't be read: {error.strerror or error}; export it again")
