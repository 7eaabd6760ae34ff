"""Requests to measure a model with: those of a file, or those that were recorded in its archive at export."""

import json
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import TowersError, shorten
from torchtowers.handlers.samples import FILE_NAME, Sample, parse_samples
from torchtowers.serving.archives import Archive, choose_archives, read_member
from torchtowers.serving.errors import ServerNotRunningError, ServingError
from torchtowers.serving.state import StateFolder

__all__ = ["find_archive", "read_requests", "recorded_requests", "recorded_samples", "requests_of_served"]


def read_requests(path: Path) -> list[Any]:
    """Read requests, one a line; empty lines are passed over.

    Raises:
        ServingError: The file can't be read, or a line is no JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ServingError(f"{path}: the requests can't be read: {error}") from None
    requests = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                requests.append(json.loads(line))
            except (ValueError, RecursionError):
                raise ServingError(f"{path}: line {number} is no JSON: {shorten(line)}") from None
    return requests


def recorded_samples(archive: Path) -> Sequence[Sample]:
    """Give the requests that an archive's workers check themselves by, with their answers; none without any.

    Raises:
        ArtifactError: What it holds is malformed.
    """
    try:
        return parse_samples(read_member(archive, FILE_NAME))
    except (KeyError, FileNotFoundError):
        return ()


def recorded_requests(archive: Path) -> list[Any]:
    """Give these requests alone.

    Raises:
        ServingError: It holds none, or can't be read.
        ArtifactError: What it holds is malformed.
    """
    try:
        samples = recorded_samples(archive)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ServingError(f"{archive}: {FILE_NAME} can't be read: {shorten(str(error))}") from None
    if not samples:
        raise ServingError(
            f"{archive} holds no recorded requests ({FILE_NAME}): give some with --input, or export it again"
        )
    return [sample.request for sample in samples]


def find_archive(model_store: Path, name: str, version: str | None = None) -> Archive:
    """Find the one archive of a model.

    Args:
        model_store: The folder with the archives.
        name: The model's name.
        version: The model's version; None where there is only one.

    Raises:
        ServingError: There is no such archive, or several.
    """
    found = choose_archives(model_store, name)
    chosen = [archive for archive in found if version in (None, archive.version)]
    if len(chosen) == 1:
        return chosen[0]
    there = ", ".join(archive.version for archive in found)
    what = f"no version {version} of {name}" if version else f"several versions of {name}"
    raise ServingError(f"{model_store}: {what}, there are {there}: choose one with --version")


def requests_of_served(name: str, version: str | None = None, state: str | Path | None = None) -> list[Any]:
    """Give the recorded requests of a model that a server was started with.

    Args:
        name: The model.
        version: Its version; by default the first that has some.
        state: The server's state folder, as for `start`.

    Raises:
        ServerNotRunningError: None runs.
        ServingError: The archive isn't found, or holds none.
    """
    record = StateFolder(state).read()
    if record is None:
        raise ServerNotRunningError(f"no server runs in {StateFolder(state).path}")
    store = Path(record.model_store)
    try:
        archives = [archive for archive in choose_archives(store, name) if version in (None, archive.version)]
    except ServingError as error:
        raise ServingError(f"{error}; or give requests with --input") from None
    reason: TowersError = ServingError(f"{store}: no version {version} of {name}: give requests with --input")
    for archive in archives:
        try:
            return recorded_requests(store / archive.file)
        except TowersError as error:
            reason = error
    raise reason
