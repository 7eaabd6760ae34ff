"""What verification asks a model and its exported files: every kind of value, in reproducible order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.handlers.encoders import MISSING, UNKNOWN, BucketEncoder, Encoder, pad
from torchtowers.handlers.request import Row

__all__ = ["encode_for_training", "random_inputs", "raw_rows"]

_UNKNOWN_TOKEN = "\N{WHITE QUESTION MARK ORNAMENT} no such token"


def random_inputs(
    encoders: Mapping[str, Encoder], batch: int, generator: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Draw encoded inputs of a tower that hold unknown and missing values, and empty and longest lists.

    Args:
        encoders: The tower's, by feature.
        batch: Rows; one of 1 can only hold an unknown value and a longest list.
        generator: Decides the rest.

    Returns:
        By feature, int64 `[batch]` or `[batch, length]`.
    """
    inputs = {}
    for name, encoder in encoders.items():
        if not encoder.is_list:
            indices = generator.integers(0, encoder.size, batch)
            indices[:2] = (UNKNOWN, MISSING)[:batch]
            inputs[name] = indices
            continue
        longest: int = getattr(encoder, "max_length", 8)
        indices = generator.integers(UNKNOWN, encoder.size, (batch, longest))
        lengths = generator.integers(0, longest + 1, batch)
        lengths[-1] = longest
        lengths[0] = 0 if batch > 1 else longest
        indices[np.arange(longest) >= lengths[:, None]] = MISSING
        inputs[name] = indices
    return inputs


def raw_rows(dataset: Dataset, batch: int, k: int) -> list[Row]:
    """Give rows as requests have them: known users by id alone, unknown ones, missing and unknown values.

    Args:
        dataset: Tells the users and their features.
        batch: Rows; known users are taken from all over the data.
        k: Items that each row asks for.
    """
    users = dataset.users
    rows = []
    for position in range(batch):
        kind, turn = position % 4, position // 4
        known = users.tokens[position * len(users) // batch]
        features: dict[str, object] = {users.key: known if kind in (0, 2) else _UNKNOWN_TOKEN}
        for phase, (name, encoder) in enumerate(users.encoders.items()):
            sent = kind == 1 or (kind in (2, 3) and (phase + turn) % 2 == 0)
            if name != users.key and sent:
                features[name] = _raw_value(encoder, turn + phase)
        rows.append(Row(features, k=k))
    return rows


def _raw_value(encoder: Encoder, turn: int) -> object:
    if isinstance(encoder, BucketEncoder):
        return (None, -1e9, 1e9, encoder.boundaries[0])[turn % 4]
    vocabulary = getattr(encoder, "vocabulary", None)
    tokens: Sequence[str] = getattr(vocabulary, "tokens", ()) or (_UNKNOWN_TOKEN,)
    token = tokens[turn % len(tokens)]
    if not encoder.is_list:
        return (_UNKNOWN_TOKEN, token, None)[turn % 3]
    some = tokens[: 2 * getattr(encoder, "max_length", 8)]
    if encoder.kind == "words":
        return (None, f"{token} {_UNKNOWN_TOKEN}", "", " ".join(some))[turn % 4]
    return (None, [_UNKNOWN_TOKEN, token], [], list(some))[turn % 4]


def encode_for_training(
    dataset: Dataset, rows: Sequence[Row], *, lookup: bool
) -> dict[str, NDArray[np.int64]]:
    """Encode rows from the data that the model was trained on, without anything that was exported.

    Args:
        dataset: The data.
        rows: As `raw_rows` gives them.
        lookup: Whether a known user's own values stand in for those that a row leaves out.

    Returns:
        By feature, int64 `[batch]` or `[batch, length]`.
    """
    users = dataset.users
    row_of = {token: row for row, token in enumerate(users.tokens)}
    encoded: dict[str, list[Any]] = {name: [] for name in users.encoders}
    for row in rows:
        known = row_of.get(str(row.features[users.key])) if lookup else None
        stored = {} if known is None else users.take(np.array([known]))
        for name, encoder in users.encoders.items():
            if name in row.features or known is None:
                encoded[name].append(encoder.encode([row.features.get(name)])[0])
            else:
                encoded[name].append(stored[name][0])
    return {
        name: pad(values) if users.encoders[name].is_list else np.array(values, dtype=np.int64)
        for name, values in encoded.items()
    }
