"""What verification asks a model and its exported files: every kind of value, in reproducible order."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.features import EntityTable
from torchtowers.handlers.encoders import (
    MISSING,
    UNKNOWN,
    BooleanEncoder,
    BucketEncoder,
    Encoded,
    Encoder,
    HashedWordsEncoder,
    NumberEncoder,
    TimestampEncoder,
    VectorEncoder,
    WeightedListEncoder,
    WordsEncoder,
)
from torchtowers.handlers.request import Row

__all__ = ["Entities", "encode_for_training", "random_inputs", "raw_rows", "retrieval_rows", "two_stage_rows"]

# Items that a compared answer holds: the whole of a small catalogue, and of a large one no gigabytes of JSON.
_MOST_ITEMS = 1000
_MOST_IN_ALL = 64_000

_UNKNOWN_TOKEN = "\N{WHITE QUESTION MARK ORNAMENT} no such token"


class Entities(Protocol):
    """Users or items: those of the data, or those of an artifact."""

    @property
    def key(self) -> str:
        """The field of their ids."""

    @property
    def tokens(self) -> Sequence[str]:
        """The ids that are known."""

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """By feature."""


def random_inputs(
    encoders: Mapping[str, Encoder], batch: int, generator: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Draw encoded inputs of a tower that hold unknown and missing values, and empty and longest lists.

    Args:
        encoders: The tower's, by feature.
        batch: Rows; one of 1 can only hold an unknown value and a longest list.
        generator: Decides the rest.

    Returns:
        By tensor, int64 `[batch]` or `[batch, length]`, or float32.
    """
    inputs: dict[str, NDArray[Any]] = {}
    for name, encoder in encoders.items():
        longest: int = getattr(encoder, "max_length", 8)
        lengths = generator.integers(0, longest + 1, batch)
        lengths[-1] = longest
        lengths[0] = 0 if batch > 1 else longest
        for spec in encoder.tensors:
            sizes = {"batch": batch, "length": longest}
            shape = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
            if spec.dtype == "float32":
                values: NDArray[Any] = generator.normal(size=shape).astype(np.float32)
                values[:1] = 0
            else:
                values = generator.integers(UNKNOWN if spec.is_ragged else MISSING, encoder.size, shape)
            if spec.is_ragged:
                values[np.arange(longest) >= lengths[:, None]] = 0
            elif spec.dtype == "int64":
                values[:2] = (UNKNOWN, MISSING)[:batch]
            inputs[name + spec.suffix] = values
    return inputs


def raw_rows(table: Entities, batch: int, k: int) -> list[Row]:
    """Give rows as requests have them: known entities by id alone, unknown ones, missing and unknown values.

    Args:
        table: The users, or the items of a ranking model.
        batch: Rows; known entities are taken from all over the table.
        k: Items that each row asks for.
    """
    rows = []
    for position in range(batch):
        kind, turn = position % 4, position // 4
        known = table.tokens[position * len(table.tokens) // batch]
        features: dict[str, object] = {table.key: known if kind in (0, 2) else _UNKNOWN_TOKEN}
        for phase, (name, encoder) in enumerate(table.encoders.items()):
            sent = kind == 1 or (kind in (2, 3) and (phase + turn) % 2 == 0)
            if name != table.key and sent:
                features[name] = _raw_value(encoder, turn + phase)
        rows.append(Row(features, k=k))
    return rows


def retrieval_rows(users: Entities, items: Sequence[str], batch: int, *, has_history: bool) -> list[Row]:
    """Give rows of `raw_rows` that ask for the whole catalogue or much of it, and exclude items in turn.

    Args:
        users: The users.
        items: The catalogue's ids.
        batch: Rows.
        has_history: Whether a history can be excluded.
    """
    k = max(1, min(len(items), _MOST_ITEMS, _MOST_IN_ALL // batch))
    rows = []
    for position, row in enumerate(raw_rows(users, batch, k)):
        excluded = [items[(position * 7 + place) % len(items)] for place in range(position % 4)]
        without = has_history and position % 3 == 1
        if excluded:
            excluded.append(_UNKNOWN_TOKEN)
        rows.append(replace(row, exclude=tuple(excluded), exclude_history=without))
    return rows


def two_stage_rows(found: Entities, ranked: Entities, batch: int, k: int) -> list[Row]:
    """Give rows of `raw_rows` that hold what either of two models asks for.

    Args:
        found: The users, as the retrieval model knows them.
        ranked: The users, as the ranking model knows them.
        batch: Rows.
        k: Items that each row asks for.
    """
    return [
        replace(row, features={**other.features, **row.features})
        for row, other in zip(raw_rows(found, batch, k), raw_rows(ranked, batch, k), strict=True)
    ]


def _raw_value(encoder: Encoder, turn: int) -> object:
    values = _raw_values(encoder, turn)
    return values[turn % len(values)]


def _raw_values(encoder: Encoder, turn: int) -> Sequence[object]:
    tokens: Sequence[str] = getattr(getattr(encoder, "vocabulary", None), "tokens", ()) or (_UNKNOWN_TOKEN,)
    token = tokens[turn % len(tokens)]
    some = tokens[: 2 * getattr(encoder, "max_length", 8)]
    match encoder:
        case BucketEncoder():
            return (None, -1e9, 1e9, encoder.boundaries[0])
        case NumberEncoder():
            return (None, encoder.mean, -1e300, encoder.mean + encoder.deviation)
        case BooleanEncoder():
            return (None, True, False)
        case TimestampEncoder():
            return (None, "1999-12-31T23:59:59Z", "2024-02-29", "2038-01-19T03:14:08+01:00")
        case VectorEncoder():
            return (None, [0.5] * encoder.width, [-1e30, *[1] * (encoder.width - 1)])
        case WordsEncoder() | HashedWordsEncoder():
            return (None, f"{token} {_UNKNOWN_TOKEN}", "", " ".join(some))
        case WeightedListEncoder():
            known = [[other, (-1) ** place / (1 + place)] for place, other in enumerate(some)]
            return (None, {_UNKNOWN_TOKEN: 1, token: 0.5}, [], known, [[token, 0]])
        case _ if encoder.is_list:
            return (None, [_UNKNOWN_TOKEN, token], [], list(some))
    return (_UNKNOWN_TOKEN, token, None)


def encode_for_training(table: EntityTable, rows: Sequence[Row], *, lookup: bool) -> dict[str, NDArray[Any]]:
    """Encode rows from the data that the model was trained on, without anything that was exported.

    Args:
        table: The entities that the rows are of.
        rows: As `raw_rows` gives them.
        lookup: Whether a known entity's own values stand in for those that a row leaves out.

    Returns:
        By tensor, int64 `[batch]` or `[batch, length]`, or float32.
    """
    row_of = {token: row for row, token in enumerate(table.tokens)}
    known = [row_of.get(str(row.features[table.key])) if lookup else None for row in rows]
    encoded: dict[str, NDArray[Any]] = {}
    for name, encoder in table.encoders.items():
        values: list[Encoded] = []
        for row, entity in zip(rows, known, strict=True):
            # Also of a known user, a request's context is nowhere stored.
            if name in row.features or entity is None or name not in table.columns:
                values.append(encoder.encode_value(row.features.get(name), name))
            else:
                values.append(_stored(table, name, encoder, entity))
        for spec, array in zip(encoder.tensors, encoder.stack(values), strict=True):
            encoded[name + spec.suffix] = array
    return encoded


def _stored(table: EntityTable, name: str, encoder: Encoder, entity: int) -> Encoded:
    parts = [table.columns[name + spec.suffix][entity].tolist() for spec in encoder.tensors]
    return parts[0] if len(parts) == 1 else tuple(parts)
