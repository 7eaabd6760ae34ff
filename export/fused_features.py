"""Features of a fused model: raw values to encoded tensors, with what is known of an id filled in.

All modules take `raw`, the inputs by name: strings as labels (see `Labels`), numbers as they came, and for a
feature that is looked up `NAME.given`, bool `[batch]`, which is false where a row leaves the feature out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchtowers.export.errors import ExportError
from torchtowers.export.fused_values import RAW_TYPES, value_module
from torchtowers.handlers.encoders import (
    FIRST_TOKEN,
    MISSING,
    UNKNOWN,
    Encoder,
    TokenListEncoder,
    WeightedListEncoder,
)
from torchtowers.handlers.lookup import FeatureLookup, LookupColumn
from torchtowers.handlers.query_encoder import QueryEncoder

__all__ = [
    "GIVEN",
    "FusedList",
    "FusedValue",
    "KnownFeature",
    "Labels",
    "RawInput",
    "compact",
    "given_features",
    "known_features",
    "raw_inputs",
]

# Behind a feature's name, the input that says which rows hold it.
GIVEN = ".given"


@dataclass(frozen=True)
class RawInput:
    """One input of a fused file.

    Args:
        name: Its name.
        dtype: `string`, `float64`, `float32`, `int64` or `bool`.
        shape: `("batch",)`, `("batch", "length")`, or `("batch", width)` with a number.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]


@dataclass(frozen=True)
class Labels:
    """A string input as numbers, which is all of it that the modules see.

    Args:
        name: What they call it.
        source: The input.
        tokens: Those that are known; the first one is labelled `first`.
        first: Its label.
        unknown: The label of other strings.
        missing: The label of the empty string.
    """

    name: str
    source: str
    tokens: tuple[str, ...]
    first: int = FIRST_TOKEN
    unknown: int = UNKNOWN
    missing: int = MISSING

    @classmethod
    def rows(cls, name: str, source: str, tokens: tuple[str, ...]) -> "Labels":
        """Label tokens with their places, and all others with -1."""
        return cls(name, source, tokens, 0, -1, -1)

    @property
    def by_token(self) -> dict[str, int]:
        """Every label that is not `unknown`, by its string."""
        return {**{token: self.first + place for place, token in enumerate(self.tokens)}, "": self.missing}


class _Known(nn.Module):
    """One tensor's values of known ids, by row; zeros for the row -1."""

    __constants__ = ("is_list",)
    values: Tensor
    begins: Tensor
    lengths: Tensor
    places: Tensor

    def __init__(self, column: LookupColumn) -> None:
        super().__init__()
        values = torch.from_numpy(np.array(column.values))
        self.is_list = column.offsets is not None
        offsets = np.zeros(2, np.int64) if column.offsets is None else np.array(column.offsets)
        lengths = np.diff(offsets)
        if self.is_list:  # one more, so that there is a place to read where all lists are empty
            values = torch.cat([values, torch.zeros_like(values[:1]) if len(values) else values.new_zeros(1)])
        self.register_buffer("values", values)
        self.register_buffer("begins", torch.from_numpy(offsets[:-1].copy()))
        self.register_buffer("lengths", torch.from_numpy(lengths))
        self.register_buffer("places", torch.arange(max(1, int(lengths.max(initial=0)))))

    def forward(self, rows: Tensor) -> Tensor:
        """Give `[batch]` or `[batch, width]` of int64 `[batch]`, or of lists `[batch, longest of them]`."""
        at = rows.clamp(min=0)
        outside = (rows < 0).unsqueeze(1)
        if not self.is_list:
            found = self.values[at]
            return found.masked_fill(outside if found.dim() > 1 else rows < 0, 0)
        lengths = self.lengths[at].masked_fill(rows < 0, 0)
        # Not the longest of all ids: few have so many, and each place costs the model as much.
        longest = _length(lengths.max().clamp(min=1), self.places.size(0))
        own = self.places[:longest].unsqueeze(0)
        outside = outside | (own >= lengths.unsqueeze(1))
        places = self.begins[at].unsqueeze(1) + own
        return self.values[places.masked_fill(outside, 0)].masked_fill(outside, 0)


def _length(longest: Tensor, most: int) -> int:
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        return _open_length(longest, most)
    return int(longest)


def _open_length(longest: Tensor, most: int) -> int:
    """Give a length that torch.export leaves open, as it does not with `int`."""
    length: Any = longest.item()
    torch._check(length >= 1)  # type: ignore[no-untyped-call]
    torch._check(length <= most)  # type: ignore[no-untyped-call]
    return length  # type: ignore[no-any-return]


class FusedValue(nn.Module):
    """A feature of one value a row.

    Args:
        name: The feature's.
        encoder: Its encoder.
        known: What is looked up, if it is.
    """

    __constants__ = ("is_looked_up",)

    def __init__(self, name: str, encoder: Encoder, known: FeatureLookup | None) -> None:
        super().__init__()
        self.name = name
        self.given = name + GIVEN
        self.encode = value_module(name, encoder)
        self.is_looked_up = known is not None
        self.known = nn.Identity() if known is None else _Known(known.columns[0])

    def forward(self, raw: dict[str, Tensor], row: Tensor) -> dict[str, Tensor]:
        """Encode a batch whose ids are known by the rows, int64 `[batch]`, -1 where they are not."""
        encoded = self.encode(raw[self.name])
        if self.is_looked_up:
            taken = ~raw[self.given] & (row >= 0)
            stored = self.known(row)
            encoded = torch.where(taken.unsqueeze(1) if encoded.dim() > 1 else taken, stored, encoded)
        return {self.name: encoded}


class FusedList(nn.Module):
    """A feature of a list of tokens a row, with weights or without; strings are padded with the empty one.

    Args:
        name: The feature's.
        encoder: Its encoder.
        known: What is looked up, if it is.
    """

    __constants__ = ("is_looked_up", "is_weighted")

    def __init__(
        self, name: str, encoder: TokenListEncoder | WeightedListEncoder, known: FeatureLookup | None
    ) -> None:
        super().__init__()
        self.name = name
        self.given = name + GIVEN
        self.max_length = encoder.max_length
        self.is_weighted = isinstance(encoder, WeightedListEncoder)
        self.weights = name + encoder.tensors[-1].suffix
        self.is_looked_up = known is not None
        self.known = nn.Identity() if known is None else _Known(known.columns[0])
        self.known_weights = (
            _Known(known.columns[1]) if known is not None and self.is_weighted else nn.Identity()
        )

    def found(self, raw: dict[str, Tensor], row: Tensor) -> Tensor:
        """Give the indices of all known tokens, int64 `[batch, any length]`; zeros stand between them."""
        labels = raw[self.name]
        labels = labels.masked_fill(labels <= 1, 0)
        if self.is_looked_up:
            taken = ~raw[self.given] & (row >= 0)
            stored = self.known(row.masked_fill(~taken, -1))
            labels = torch.cat([stored, labels.masked_fill(taken.unsqueeze(1), 0)], dim=1)
        return labels

    def forward(self, raw: dict[str, Tensor], row: Tensor) -> dict[str, Tensor]:
        """Encode a batch whose ids are known by the rows, int64 `[batch]`, -1 where they are not."""
        found = self.found(raw, row)
        encoded = {self.name: compact(found, found, self.max_length)}
        if self.is_weighted:
            weights = raw[self.weights]
            if self.is_looked_up:
                taken = ~raw[self.given] & (row >= 0)
                stored = self.known_weights(row.masked_fill(~taken, -1))
                weights = torch.cat([stored, weights.masked_fill(taken.unsqueeze(1), 0)], dim=1)
            encoded[self.weights] = compact(found, weights, self.max_length)
        return encoded


class KnownFeature(nn.Module):
    """A feature that is looked up by the row of its id, and missing where the id is not known.

    Args:
        name: The feature's.
        encoder: Its encoder.
        known: What is looked up; None if nothing is.
    """

    __constants__ = ("is_looked_up", "has_weights")
    missing: Tensor
    missing_weights: Tensor

    def __init__(self, name: str, encoder: Encoder, known: FeatureLookup | None) -> None:
        super().__init__()
        self.name = name
        self.weights = name + encoder.tensors[-1].suffix
        arrays = encoder.stack([encoder.encode_value(None, name)])
        self.register_buffer("missing", torch.from_numpy(arrays[0]))
        self.register_buffer("missing_weights", torch.from_numpy(arrays[-1]))
        self.is_looked_up = known is not None
        self.has_weights = len(arrays) > 1
        self.known = nn.Identity() if known is None else _Known(known.columns[0])
        self.known_weights = nn.Identity() if known is None else _Known(known.columns[-1])

    def forward(self, row: Tensor) -> dict[str, Tensor]:
        """Encode ids by their rows, int64 `[batch]`, -1 where they are not known."""
        encoded = {self.name: self._filled(self.known(row), self.missing, row)}
        if self.has_weights:
            encoded[self.weights] = self._filled(self.known_weights(row), self.missing_weights, row)
        return encoded

    def _filled(self, stored: Tensor, missing: Tensor, row: Tensor) -> Tensor:
        if not self.is_looked_up:
            return missing[torch.zeros_like(row)]
        if missing.dim() > 1:
            return torch.where((row >= 0).unsqueeze(1), stored, missing)
        return torch.where(row >= 0, stored, missing)


def compact(found: Tensor, values: Tensor, max_length: int) -> Tensor:
    """Give the last values of those places where `found` is not 0, side by side and padded with 0.

    Args:
        found: int64 `[batch, length]`.
        values: `[batch, length]`.
        max_length: How many at most.

    Returns:
        `[batch, length]`.
    """
    kept = (found != 0).long()
    place = kept.cumsum(1) - 1 - (kept.sum(1, keepdim=True) - max_length).clamp(min=0)
    # All that is not kept falls into one column more, which is cut off.
    length = found.size(1)
    place = place.masked_fill((found == 0) | (place < 0), length)
    target = torch.zeros([found.size(0), length + 1], dtype=values.dtype)
    return target.scatter(1, place, values)[:, :length]


def raw_inputs(encoder: QueryEncoder) -> Iterator[RawInput]:
    """Tell what a fused file takes for a row's features, its id first."""
    yield RawInput(encoder.spec.key, "string", ("batch",))
    for name, feature in encoder.encoders.items():
        if name == encoder.spec.key:
            continue
        dtype = RAW_TYPES.get(feature.kind, "string")
        width = feature.tensors[0].shape[1:]
        yield RawInput(name, dtype, ("batch", *width) if feature.is_list else ("batch",))
        for spec in feature.tensors[1:]:
            yield RawInput(name + spec.suffix, spec.dtype, spec.shape)
        if name in encoder.lookup:
            yield RawInput(name + GIVEN, "bool", ("batch",))


def given_features(encoder: QueryEncoder) -> tuple[dict[str, nn.Module], list[Labels]]:
    """Make the modules of a row's features, and the labels that they take.

    Args:
        encoder: The features, with what is known of ids.

    Raises:
        ExportError: No operator of a graph can do what an encoder does.
    """
    modules: dict[str, nn.Module] = {}
    labels = []
    for name, feature in encoder.encoders.items():
        known: Mapping[str, FeatureLookup] = encoder.lookup
        if isinstance(feature, TokenListEncoder | WeightedListEncoder):
            modules[name] = FusedList(name, feature, known.get(name))
        else:
            modules[name] = FusedValue(name, feature, known.get(name))
        vocabulary = getattr(feature, "vocabulary", None)
        if vocabulary is not None:
            if feature.is_list and "" in vocabulary:
                raise ExportError(
                    f"feature {name} can't be fused: one of its tokens is the empty string, which pads lists "
                    "there; give that token a name"
                )
            labels.append(Labels(name, name, vocabulary.tokens))
    return modules, labels


def known_features(encoder: QueryEncoder) -> dict[str, nn.Module]:
    """Make the modules of what is looked up by an id alone.

    Args:
        encoder: The features, with what is known of ids.
    """
    return {
        name: KnownFeature(name, feature, encoder.lookup.get(name))
        for name, feature in encoder.encoders.items()
        if name != encoder.spec.key
    }
