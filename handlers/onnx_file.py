"""Where an ONNX file keeps weights outside of itself, read from its bytes: a worker has no onnx to ask.

Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, and protobuf's wire format.
"""

import mmap
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["check_side_files", "external_locations", "unlisted_locations"]

# By message, the fields that lead to a tensor, and the message that each one holds.
_PATHS: Mapping[str, Mapping[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        **{5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto"},
        **{22: "SparseTensorProto", 23: "SparseTensorProto"},
    },
    "TensorProto": {13: "StringStringEntryProto"},
    "StringStringEntryProto": {},
}
_KEY, _VALUE = 1, 2
_LOCATION = b"location"

Buffer = bytes | mmap.mmap


def check_side_files(folder: Path, name: str, files: Mapping[str, str]) -> None:
    """Refuse an ONNX file that would read what is not beside it, or has no sha256.

    Args:
        folder: The artifact's.
        name: Of the ONNX file.
        files: The sha256 of the artifact's files.

    Raises:
        ArtifactError: It would, or it is damaged.
    """
    with (folder / name).open("rb") as file:
        try:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise ArtifactError(f"{name} is empty; export it again") from error
        with content:
            locations = external_locations(content, name)
    for location in unlisted_locations(locations, name, files):
        raise ArtifactError(
            f"{name} reads weights from {shorten(location)}, which is no file beside it that "
            "signature.json has a sha256 of; export it again"
        )


def unlisted_locations(locations: Iterable[str], name: str, files: Container[str]) -> list[str]:
    """Give those places of weights that are no file beside an ONNX file, or none of the artifact's.

    Args:
        locations: As `external_locations` gives them.
        name: Of the ONNX file.
        files: The artifact's.
    """
    folder = PurePosixPath(name).parent
    return [
        location
        for location in sorted(locations)
        if location in ("", ".", "..")
        or set(location) & set("/\\\0")
        or (folder / location).as_posix() not in files
    ]


def external_locations(content: Buffer, name: str) -> set[str]:
    """Give the files that an ONNX file's tensors are in, relative to its own folder.

    Args:
        content: The file's bytes.
        name: What an error calls it.

    Raises:
        ArtifactError: It is damaged.
    """
    if content.find(_LOCATION) < 0:
        return set()
    try:
        return set(_locations(content, "ModelProto", 0, len(content)))
    except (IndexError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} can't be read as ONNX: {error}") from error


def _locations(content: Buffer, message: str, begin: int, end: int) -> Iterator[str]:
    for number, first, last in _fields(content, begin, end):
        inner = _PATHS[message].get(number)
        if inner == "StringStringEntryProto":
            entry = list(_fields(content, first, last))
            if any(part == _KEY and content[a:b] == _LOCATION for part, a, b in entry):
                yield from (content[a:b].decode() for part, a, b in entry if part == _VALUE)
        elif inner is not None:
            yield from _locations(content, inner, first, last)


def _fields(content: Buffer, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give the number, begin and end of each field that is a message, a text or bytes."""
    while begin < end:
        tag, begin = _varint(content, begin)
        match tag & 7:
            case 0:
                _, begin = _varint(content, begin)
            case 1:
                begin += 8
            case 2:
                size, begin = _varint(content, begin)
                yield tag >> 3, begin, min(begin + size, end)
                begin += size
            case 5:
                begin += 4
            case kind:
                raise ValueError(f"a field of kind {kind} at byte {begin}")
    if begin != end:
        raise ValueError(f"a field ends at byte {begin}, its message at {end}")


def _varint(content: Buffer, begin: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[begin]
        begin += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, begin
        shift += 7
        if shift > 63:
            raise ValueError(f"a number of more than 64 bits at byte {begin}")
