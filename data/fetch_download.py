"""Files out of a zip on a web server: downloaded with a progress bar, resumed where it was cut off."""

import http.client
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from tqdm import tqdm

from torchtowers.data.errors import ChecksumError, FetchError
from torchtowers.data.fetch_files import check_sha256
from torchtowers.data.fetch_source import ZipSource
from torchtowers.handlers.errors import shorten

__all__ = ["files_from_zip"]

_CHUNK = 1 << 16
_CONNECTIONS = 5
_PAUSE = 0.5


class _CutError(Exception):
    """The connection ended before the file did."""


def files_from_zip(source: ZipSource, folder: Path, *, progress: bool) -> Mapping[str, bytes]:
    """Download a zip and convert it into the data set's files.

    What has come stays as `.NAME.part` when the connection breaks, and a later call goes on from there.

    Args:
        source: The zip.
        folder: Where the partial file lies; nothing of it stays after success.
        progress: Show a bar on standard error, where that is a terminal.

    Returns:
        The bytes of each file by name.

    Raises:
        FetchError: The server can't be reached, offers another file, or its connections keep breaking.
        ChecksumError: It is not the expected zip.
        OSError: The disk is full; the partial file is removed.
    """
    name = source.url.rpartition("/")[2]
    part = folder / f".{name}.part"
    try:
        _download_whole(source, part, progress)
    except OSError:
        # On a full disk the part is in the way of others, and can't grow.
        part.unlink(missing_ok=True)
        raise
    with zipfile.ZipFile(part) as archive:
        files = source.convert(archive)
    part.unlink()
    return files


def _download_whole(source: ZipSource, part: Path, progress: bool) -> None:
    resumed = _size(part) > 0
    try:
        _download(source, part, progress)
    except ChecksumError:
        # The part may have been left by another version of the file, or by a crash of the machine.
        if not resumed:
            raise
        _download(source, part, progress)


def _download(source: ZipSource, part: Path, progress: bool) -> None:
    """Append to the part until it is the file; connect again while each connection brings something."""
    if _size(part) > source.size:
        part.unlink()
    for attempt in range(_CONNECTIONS):
        before = _size(part)
        if before >= source.size:
            break
        try:
            _append(source, part, progress)
        except _CutError as error:
            if _size(part) <= before or attempt == _CONNECTIONS - 1:
                raise FetchError(f"{error} after {_size(part):,} of {source.size:,} bytes") from error
            time.sleep(_PAUSE)
    check_sha256(part, source.sha256, source.label)


def _append(source: ZipSource, part: Path, progress: bool) -> None:
    with _open(source, _size(part)) as response:
        # A server that knows no ranges begins again, and so does the part.
        start = _size(part) if response.status == http.client.PARTIAL_CONTENT else 0
        _check_length(response, start, source)
        with part.open("ab" if start else "wb", buffering=0) as file:
            _copy(response, file, start, source, progress)


def _copy(
    response: http.client.HTTPResponse, file: FileIO, start: int, source: ZipSource, progress: bool
) -> None:
    came = start
    with _bar(source, start, progress) as bar:
        for chunk in _chunks(response):
            _write(file, chunk)
            bar.update(len(chunk))
            came += len(chunk)
            # More than the file has: the checksum will tell, and an endless answer ends here.
            if came > source.size:
                return
    if came < source.size:
        raise _CutError("the connection ended")


def _write(file: FileIO, chunk: bytes) -> None:
    # An unbuffered write may take a part of the chunk only, as just before a disk is full.
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _bar(source: ZipSource, start: int, progress: bool) -> "tqdm[Any]":
    name = source.url.rpartition("/")[2]
    # None: shown where standard error is a terminal.
    disable = None if progress else True
    return tqdm(total=source.size, initial=start, unit="B", unit_scale=True, desc=name, disable=disable)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"the connection broke ({shorten(str(error) or type(error).__name__)})") from error


def _open(source: ZipSource, start: int) -> http.client.HTTPResponse:
    """Ask for the file's bytes from `start` on; what comes may begin at 0 all the same (status 200)."""
    headers = {"User-Agent": "torchtowers"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(source.url, headers=headers)
    response: http.client.HTTPResponse
    try:
        response = urllib.request.urlopen(request, timeout=source.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        # 416, or a server that dislikes ranges: it decides on a plain request.
        if start:
            return _open(source, 0)
        raise FetchError(f"HTTP status {error.code} {shorten(error.reason)}") from error
    except urllib.error.URLError as error:
        raise FetchError(shorten(str(error.reason))) from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(shorten(str(error) or type(error).__name__)) from error
    if start and not _begins_at(response, start):
        response.close()
        return _open(source, 0)
    return response


def _begins_at(response: http.client.HTTPResponse, start: int) -> bool:
    if response.status != http.client.PARTIAL_CONTENT:
        return True
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _check_length(response: http.client.HTTPResponse, start: int, source: ZipSource) -> None:
    """Refuse another file, such as a proxy's login page, before it takes the part's place."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) + start != source.size:
        raise FetchError(f"a file of {int(length) + start:,} bytes came, {source.size:,} expected")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
