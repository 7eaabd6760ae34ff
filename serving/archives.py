"""Chooses the archives of a model store that a server loads, and checks them before anything starts."""

import json
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from torchtowers.handlers.errors import shorten
from torchtowers.serving.errors import ServingError

__all__ = ["Archive", "choose_archives"]

_MANIFEST = "MAR-INF/MANIFEST.json"
_ENDS = (".mar", ".tar.gz")


@dataclass(frozen=True)
class Archive:
    """One archive to serve.

    Args:
        file: Its name in the model store; of a directory, too.
        name: The model's name on the server.
        version: The model's version.
        renamed: Whether the name was given by the caller rather than by the archive.
    """

    file: str
    name: str
    version: str
    renamed: bool = False

    @property
    def argument(self) -> str:
        """The archive as TorchServe's command line takes it."""
        return f"{self.name}={self.file}" if self.renamed else self.file

    def __str__(self) -> str:
        return f"{self.file} ({self.name} {self.version})"


def choose_archives(model_store: Path, models: str) -> list[Archive]:
    """Find the archives that `models` means.

    Args:
        model_store: The folder with the archives.
        models: `all`, or a list with commas: `movies`, `movies.mar` or `name=movies.mar`. An archive is a
            `.mar`, a `.tar.gz`, or a directory that holds a manifest.

    Raises:
        ServingError: The folder or an archive is missing, isn't an archive, or is there twice.
    """
    if not model_store.is_dir():
        raise ServingError(
            f"{model_store}: no such model store; name the folder of the archives with --model-store"
        )
    if models.strip().lower() == "all":
        chosen = [read_archive(path) for path in _archives_of(model_store)]
        if not chosen:
            raise ServingError(
                f"{model_store}: no archive in this model store: make one with `torchtowers archive build`"
            )
    else:
        chosen = [
            found
            for item in models.split(",")
            if item.strip()
            for found in _choose(model_store, item.strip())
        ]
        if not chosen:
            raise ServingError(f"models: expected 'all' or names of archives, got {shorten(models)!r}")
    _require_distinct(chosen)
    return chosen


def read_archive(path: Path) -> Archive:
    """Read an archive's name and version from its manifest.

    Raises:
        ServingError: It is no TorchServe archive.
    """
    mend = "build it again with `torchtowers archive build`, or move it out of the model store"
    try:
        model = json.loads(read_member(path, _MANIFEST))["model"]
        # TorchServe falls back to the file's name and to 1.0.
        return Archive(
            path.name, str(model.get("modelName") or _stem(path)), str(model.get("modelVersion") or "1.0")
        )
    except KeyError as error:
        raise ServingError(f"{path}: not an archive ({shorten(error.args[0])}): {mend}") from None
    except (ValueError, TypeError, AttributeError, EOFError, zlib.error, OSError) as error:
        raise ServingError(f"{path}: {_MANIFEST} can't be read ({shorten(str(error))}): {mend}") from None
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise ServingError(f"{path}: not an archive ({shorten(str(error))}): {mend}") from None


def read_member(path: Path, name: str) -> bytes:
    """Read one file of an archive.

    Raises:
        KeyError: There is none of that name.
        OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError: The archive can't be read.
    """
    if path.is_dir():
        return (path / name).read_bytes()
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                # Below one folder, whatever it is called.
                if member.isreg() and member.name.removeprefix("./").partition("/")[2] == name:
                    file = archive.extractfile(member)
                    return b"" if file is None else file.read()
        raise KeyError(f"There is no item named {name!r} in the archive")
    with zipfile.ZipFile(path) as zipped:
        return zipped.read(name)


def _archives_of(model_store: Path) -> list[Path]:
    return [
        path
        for path in sorted(model_store.iterdir())
        if (path.is_file() and path.name.endswith(_ENDS)) or (path / _MANIFEST).is_file()
    ]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".tar.gz").removesuffix(".mar")


def _choose(model_store: Path, item: str) -> list[Archive]:
    name, equals, file = item.partition("=")
    if equals:
        archive = read_archive(_existing(model_store, file.strip()))
        return [Archive(archive.file, name.strip(), archive.version, renamed=True)]
    if item.endswith(_ENDS):
        return [read_archive(_existing(model_store, item))]
    # A model's name stands for every version of it; other files in the store are none of its business.
    named = []
    for path in _archives_of(model_store):
        try:
            archive = read_archive(path)
        except ServingError:
            if _stem(path) == item:
                raise
            continue
        if archive.name == item:
            named.append(archive)
    return named or [read_archive(_existing(model_store, f"{item}.mar"))]


def _existing(model_store: Path, file: str) -> Path:
    path = model_store / file
    # TorchServe takes a path with folders as one below the store, and refuses the others.
    if Path(file).name == file and path.exists():
        return path
    there = ", ".join(other.name for other in _archives_of(model_store)) or "no archive"
    raise ServingError(f"{path}: no such archive in the model store, which holds {there}")


def _require_distinct(archives: list[Archive]) -> None:
    seen: dict[tuple[str, str], Archive] = {}
    for archive in archives:
        other = seen.setdefault((archive.name, archive.version), archive)
        if other is not archive:
            raise ServingError(
                f"{other.file} and {archive.file} both hold {archive.name} {archive.version}: "
                "move one out of the model store, or choose with --models"
            )
