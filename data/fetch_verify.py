"""Whether the files of a data set are the expected ones: before they are written, and each time after."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torchtowers.data.errors import ChecksumError
from torchtowers.data.fetch_files import sha256_if_there
from torchtowers.data.fetch_source import DatasetFile, NamedDataset

__all__ = ["SUMS", "accepted_sums", "format_sums", "unverified"]

# In the form of sha256sum, so that a person can check a folder with `sha256sum -c SHA256SUMS`.
SUMS = "SHA256SUMS"


def accepted_sums(dataset: NamedDataset, contents: Mapping[str, bytes], origin: str) -> dict[str, str]:
    """Check what a source gave, and give the sha256 of each file by name.

    Raises:
        ChecksumError: A file is not the expected one.
    """
    return {file.name: _accepted(file, contents[file.name], origin) for file in dataset.files}


def _accepted(file: DatasetFile, content: bytes, origin: str) -> str:
    found = hashlib.sha256(content).hexdigest()
    if found == file.sha256:
        return found
    if file.exact:
        raise ChecksumError(
            f"{file.name} from {origin}: sha256 {file.sha256} expected, {found} found; not kept"
        )
    rows = content.count(b"\n") - 1
    if not content.startswith(file.header) or not content.endswith(b"\n") or rows != file.rows:
        raise ChecksumError(
            f"{file.name} from {origin}: sha256 {file.sha256} or {file.rows:,} rows expected, "
            f"{found} with {rows:,} rows found; not kept"
        )
    return found


def unverified(dataset: NamedDataset, folder: Path) -> dict[str, str | None]:
    """Find the files that are missing or not the expected ones.

    Returns:
        The sha256 found, or None where there is no file, by the file's name; empty when all is well.
    """
    kept = _read_sums(folder)
    found = {file: sha256_if_there(folder / file.name) for file in dataset.files}
    return {file.name: sha for file, sha in found.items() if not _matches(file, sha, kept)}


def _matches(file: DatasetFile, sha256: str | None, kept: Mapping[str, str]) -> bool:
    if sha256 is None:
        return False
    return sha256 == file.sha256 or (not file.exact and sha256 == kept.get(file.name))


def format_sums(sums: Mapping[str, str]) -> bytes:
    """Give the content of a SHA256SUMS."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()).encode()


def _read_sums(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / SUMS).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}
