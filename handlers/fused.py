"""Fused files from Python: rows of requests to the file's inputs, its outputs to items and scores."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.encoders import (
    BooleanEncoder,
    Encoder,
    TimestampEncoder,
    TokenListEncoder,
    VectorEncoder,
    WeightedListEncoder,
    seconds_of,
)
from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError
from torchtowers.handlers.execution import ON_CPU, Execution
from torchtowers.handlers.list_encoders import pairs_of
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.runtime import load_onnx, load_torchscript
from torchtowers.handlers.vocabulary import token_of

__all__ = ["Fused", "blocks_of", "fused_inputs", "load_fused", "longest_list", "string_lists"]

# A row's ids, best first, and their scores.
Best: TypeAlias = tuple[list[str], NDArray[np.float32]]
Inputs: TypeAlias = Mapping[str, NDArray[Any]]

# In the place of a text that is none in UTF-8, which no fused file knows: two that Unicode gives to nobody.
_NO_TEXT = "\ufffe\uffff"


class Fused(Protocol):
    """Raw values in, ids and scores out."""

    def __call__(self, inputs: Inputs) -> list[Best]:
        """Answer a batch; of a ranking model each row's candidates with their scores, in their order."""


def fused_inputs(encoder: QueryEncoder, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Give what a fused file takes for the rows' features.

    Missing is the empty string, NaN, for a boolean -1, and an empty list; a feature that is looked up has
    `NAME.given`, which is false where a row leaves it out.

    Args:
        encoder: The artifact's features.
        rows: Of requests; `QueryEncoder.encode` has checked them.
    """
    key = encoder.spec.key
    inputs: dict[str, NDArray[Any]] = {key: _strings([row.features.get(key) for row in rows])}
    for name, feature in encoder.encoders.items():
        if name == key:
            continue
        values = [row.features.get(name) for row in rows]
        arrays = _arrays(feature, values, name)
        for spec, array in zip(feature.tensors, arrays, strict=True):
            inputs[name + spec.suffix] = array
        if name in encoder.spec.lookup:
            inputs[f"{name}.given"] = np.array([name in row.features for row in rows])
    return inputs


def _arrays(encoder: Encoder, values: Sequence[Any], name: str) -> tuple[NDArray[Any], ...]:
    if isinstance(encoder, WeightedListEncoder):
        pairs = [pairs_of(value, name) for value in values]
        tokens = string_lists([[token for token, _ in row] for row in pairs])
        weights = np.zeros(tokens.shape, np.float32)
        for place, row in enumerate(pairs):
            weights[place, : len(row)] = [weight for _, weight in row]
        return tokens, weights
    if isinstance(encoder, TokenListEncoder):
        return (string_lists([value or () for value in values]),)
    if isinstance(encoder, VectorEncoder):
        missing = [np.nan] * encoder.width
        vectors = [missing if value is None else [_float(part) for part in value] for value in values]
        return (np.array(vectors, np.float64),)
    if isinstance(encoder, BooleanEncoder):
        return (np.array([-1 if value is None else int(value) for value in values]),)
    if encoder.dtype == "string":
        return (_strings(values),)
    return (np.array([_number(encoder, value) for value in values], np.float64),)


def _number(encoder: Encoder, value: object) -> float:
    if isinstance(encoder, TimestampEncoder) and isinstance(value, str):
        # In the middle of its second, so that no rounding of the unit leaves it.
        seconds = seconds_of(value, encoder.unit)
        return float("nan") if seconds is None else (seconds + 0.5) * encoder.per_second
    return float("nan") if value is None else _float(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the floats
        return sys.float_info.max if value > 0 else -sys.float_info.max


def _strings(values: Sequence[object]) -> NDArray[Any]:
    return np.array(["" if value is None else _text(value) for value in values], object)


def _text(value: object) -> str:
    token = token_of(value) or ""
    if not token.isascii():
        try:
            token.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, as JSON may escape it
            return _NO_TEXT
    return token


def string_lists(rows: Sequence[Sequence[object]]) -> NDArray[Any]:
    """Give lists of ids as strings `[batch, length]`, padded with the empty one; the length is at least 1."""
    lists = np.full((len(rows), max([1, *map(len, rows)])), "", object)
    for place, row in enumerate(rows):
        lists[place, : len(row)] = [_text(value) for value in row]
    return lists


def longest_list(row: Row) -> int:
    """Give how many strings the longest of a row's lists holds, at least 1."""
    lists = [len(value) for value in row.features.values() if isinstance(value, list | tuple | dict)]
    return max([1, len(row.exclude), *lists])


def blocks_of(lengths: Sequence[int], most: int, most_rows: int) -> Iterator[slice]:
    """Divide rows into blocks, so that one long list among many rows does not make all of them as long.

    Args:
        lengths: Of each row's longest list.
        most: Places that a block's lists may have when they are padded; a longer row is a block of its own.
        most_rows: Of a block.
    """
    begin, longest = 0, 1
    for row, length in enumerate(lengths):
        longest = max(longest, length)
        if row > begin and ((row + 1 - begin) * longest > most or row - begin >= most_rows):
            yield slice(begin, row)
            begin, longest = row, max(1, length)
    if begin < len(lengths):
        yield slice(begin, len(lengths))


class FusedOnnx:
    """A fused file in ONNX.

    Args:
        path: The `.onnx` file.
        execution: How many threads compute.

    Raises:
        RuntimeUnavailableError: onnxruntime can't be imported.
        ArtifactError: The file can't be loaded.
    """

    name = "onnx"

    def __init__(self, path: Path, execution: Execution = ON_CPU) -> None:
        self._session = load_onnx(path, execution)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Inputs) -> list[Best]:
        """Answer a batch; of a ranking model each row's candidates with their scores, in their order."""
        found = dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
        items = found.get("items", inputs.get("candidates"))
        return _rows(items, found["scores"])


class FusedTorchScript:
    """A fused file in TorchScript.

    Args:
        path: The `.pt` file.
        execution: How many threads compute.

    Raises:
        RuntimeUnavailableError: torch can't be imported.
        ArtifactError: The file can't be loaded.
    """

    name = "torchscript"

    def __init__(self, path: Path, execution: Execution = ON_CPU) -> None:
        self._torch, self._module = load_torchscript(path, execution)

    def __call__(self, inputs: Inputs) -> list[Best]:
        """Answer a batch; of a ranking model each row's candidates with their scores, in their order."""
        torch = self._torch
        strings = {name: array for name, array in inputs.items() if array.dtype == object}
        tokens = {name: array.tolist() for name, array in strings.items() if array.ndim == 1}
        lists = {name: array.tolist() for name, array in strings.items() if array.ndim == 2}
        numbers = {
            name: torch.from_numpy(array)
            for name, array in inputs.items()
            if array.dtype != object and name != "k"
        }
        with torch.inference_mode():
            if "k" not in inputs:
                scores = self._module(tokens, lists, numbers)
                return _rows(inputs["candidates"], scores.numpy())
            items, kept = self._module(tokens, lists, numbers, int(inputs["k"][0]))
        return [(own, scores.numpy()) for own, scores in zip(items, kept, strict=True)]


def _rows(items: Any, scores: NDArray[np.float32]) -> list[Best]:
    """Leave out what pads."""
    rows = []
    for own, numbers in zip(items.tolist(), scores, strict=True):
        kept = [place for place, name in enumerate(own) if name]
        rows.append(([own[place] for place in kept], numbers[kept]))
    return rows


_FUSED = {fused.name: fused for fused in (FusedOnnx, FusedTorchScript)}


def load_fused(runtime: str, path: Path, execution: Execution = ON_CPU) -> FusedOnnx | FusedTorchScript:
    """Load a fused file for `torchscript` or `onnx`.

    Args:
        runtime: What it runs in.
        path: The file.
        execution: Where it computes: on the CPU, where strings are looked up, and in float32.

    Raises:
        ArtifactError: The runtime is unknown, or the file can't be loaded.
        RuntimeUnavailableError: Its library is not installed, or the worker is given a GPU.
    """
    if runtime not in _FUSED:
        raise ArtifactError(f"no fused file runs in {runtime!r}; this version knows {', '.join(_FUSED)}")
    execution.refuse_half("a fused file")
    if execution.gpu_id is not None:
        raise RuntimeUnavailableError(
            f"the worker was given GPU {execution.gpu_id}, but a fused file runs on the CPU: "
            "set deviceType: cpu, or build the archive without --fused"
        )
    return _FUSED[runtime](path, execution)
