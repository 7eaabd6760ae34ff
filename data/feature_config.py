"""How a configuration says that columns are encoded: a section for each kind of feature."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from torchtowers.data.section import Section
from torchtowers.handlers.request import RESERVED

__all__ = [
    "BooleanFeature",
    "BucketsFeature",
    "FeatureConfig",
    "FeaturesConfig",
    "HashedTokenFeature",
    "HistoryFeature",
    "ListFeature",
    "NumberFeature",
    "TimestampFeature",
    "TokenFeature",
    "UnifiedTokenFeature",
    "VectorFeature",
    "WordsFeature",
]


class TokenFeature(Section):
    """An id or a category, with a row for each value and one for unknown values.

    Args:
        min_count: Values that are rarer in the column are taken for unknown; of an id, whose values stand in
            its table once each, those in fewer interactions.
        oov_buckets: Rows for unknown values, which a hash divides among them.
        share: Another feature, whose vocabulary and table are used for this one, too.
    """

    kind: Literal["token"]
    min_count: int = Field(default=1, ge=1)
    oov_buckets: int = Field(default=1, ge=1)
    share: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "TokenFeature":
        if self.share is not None and (self.min_count, self.oov_buckets) != (1, 1):
            raise ValueError("min_count and oov_buckets are those of the feature that share names")
        return self


class HashedTokenFeature(Section):
    """An id or a category by its hash: no vocabulary is kept, and values may share a row.

    Args:
        buckets: Rows that values are divided among.
    """

    kind: Literal["hashed_token"]
    buckets: int = Field(ge=1, lt=2**31)


class UnifiedTokenFeature(Section):
    """An id or a category by several hashes into one table, which all such features of a tower share.

    Args:
        buckets: Rows of the table; the same for all of them.
        hashes: Rows that make up one embedding; the same for all of them.
    """

    kind: Literal["unified_token"]
    buckets: int = Field(ge=1, lt=2**31 - 1)
    hashes: int = Field(default=2, ge=1, le=16)


class NumberFeature(Section):
    """A number; one that is missing is taken for the mean, and told to the model as missing.

    Args:
        transform: `standardize`: in standard deviations from the mean. `log`: likewise of the logarithm, for
            numbers of very different sizes, such as prices. `quantiles`: by the interval that it falls into,
            of intervals that hold equally many.
        buckets: How many intervals, of `quantiles`.
    """

    kind: Literal["number"]
    transform: Literal["standardize", "log", "quantiles"] = "standardize"
    buckets: int = Field(default=10, ge=2, le=10_000)


class BucketsFeature(Section):
    """A number, by the interval between ascending boundaries that it falls into."""

    kind: Literal["buckets"]
    boundaries: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> "BucketsFeature":
        if any(low >= high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError("boundaries have to ascend")
        return self


class BooleanFeature(Section):
    """True or false, or 1 and 0."""

    kind: Literal["boolean"]


class ListFeature(Section):
    """A list of categories, such as genres; unknown ones are left out.

    In a column of text, a list is written as JSON or with bars between its elements: `Drama|War`, and with
    weights `Drama:0.7|War:0.3`.

    Args:
        max_length: Of a longer list the last ones are kept.
        min_count: Tokens that are rarer than this in the column are left out.
        weighted: Whether each element has a weight: `[[token, weight], …]`, in a request also
            `{token: weight}`.
        share: Another feature, whose vocabulary and table are used for this one, too.
    """

    kind: Literal["token_list"]
    max_length: int = Field(default=32, ge=1)
    min_count: int = Field(default=1, ge=1)
    weighted: bool = False
    share: str | None = None


class WordsFeature(Section):
    """A text's words, hashed unless there is to be a vocabulary.

    Args:
        hash_buckets: Rows that words are divided among; None takes a power of two above the number of
            distinct words, 65,536 at most.
        vocabulary: Whether each word of the column has a row of its own; other words are left out.
        min_count: Words that are rarer than this in the column are left out of the vocabulary.
        max_length: Of a longer text the first words are kept.
    """

    kind: Literal["words"]
    hash_buckets: int | None = Field(default=None, ge=1, lt=2**31)
    vocabulary: bool = False
    min_count: int = Field(default=1, ge=1)
    max_length: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> "WordsFeature":
        if self.vocabulary and self.hash_buckets is not None:
            raise ValueError("either a vocabulary or hash_buckets, not both")
        if self.min_count > 1 and not self.vocabulary:
            raise ValueError(
                "min_count is of a vocabulary: set vocabulary: true, since hashed words have none"
            )
        return self


class TimestampFeature(Section):
    """A time: its age at the latest time of the column, hour of the day and day of the week, in UTC.

    Args:
        unit: Of numbers since 1970, also in requests; None takes seconds. Dates and ISO 8601 texts need none.
    """

    kind: Literal["timestamp"]
    unit: Literal["s", "ms", "us", "ns"] | None = None


class VectorFeature(Section):
    """A dense vector, such as a picture's embedding; in a column of text, as JSON or with bars between.

    Args:
        width: How many numbers it has; None takes the first row's.
    """

    kind: Literal["vector"]
    width: int | None = Field(default=None, ge=1)


class HistoryFeature(Section):
    """The items that a user had in training, oldest first; the target of an example is left out of its own.

    As a feature of the item, the users that had it in training, likewise; only ranking models take that one.

    Args:
        max_length: Of a longer history the last items are kept.
        minimum_rating: Items that are rated below this are left out.
        maximum_rating: Items that are rated above this are left out.
        order: What an example to learn from shows: `preceding`, the items before it, or `others`, all but
            its own. `auto` looks at the split: where the test part is not later than the training part,
            nothing is ahead, and all others are shown.
        share: The feature of the listed ids, whose table is used for this one, too.
    """

    kind: Literal["history"]
    max_length: int = Field(default=100, ge=1)
    minimum_rating: float | None = None
    maximum_rating: float | None = None
    order: Literal["auto", "preceding", "others"] = "auto"
    share: str | None = None


FeatureConfig = Annotated[
    TokenFeature
    | HashedTokenFeature
    | UnifiedTokenFeature
    | NumberFeature
    | BucketsFeature
    | BooleanFeature
    | ListFeature
    | WordsFeature
    | TimestampFeature
    | VectorFeature
    | HistoryFeature,
    Field(discriminator="kind"),
]


class FeaturesConfig(Section):
    """Each tower's inputs: the column's name, and how it is encoded.

    Args:
        user: Of the query tower.
        item: Of the candidate tower.
        context: Columns of the interactions that are known when a request comes; of ranking models.
    """

    user: dict[str, FeatureConfig]
    item: dict[str, FeatureConfig]
    context: dict[str, FeatureConfig] = Field(default={})

    @property
    def share(self) -> dict[str, str]:
        """By feature, the one whose table it uses."""
        every = {**self.user, **self.item, **self.context}
        return {name: other for name, feature in every.items() if (other := shared_with(feature)) is not None}

    @model_validator(mode="after")
    def _consistent(self) -> "FeaturesConfig":
        for name in (*self.user, *self.item, *self.context):
            # Names become file names, module names and fields of a request.
            if not name or any(character in name for character in "./\\") or name in RESERVED:
                raise ValueError(
                    f"a feature can't be called {name!r}: no '.', '/' or '\\' in it, "
                    f"and none of {', '.join(RESERVED)}"
                )
        for name in (*self.user, *self.item):
            places = [place for place in ("user", "item", "context") if name in getattr(self, place)]
            if len(places) > 1:
                raise ValueError(
                    f"{name} is a feature of {' and of '.join(places)}, and a request could not tell which: "
                    "rename the column in one of the tables"
                )
        if any(isinstance(feature, HistoryFeature) for feature in self.context.values()):
            raise ValueError("a history is a feature of the user or of the item, not of the context")
        _check_share({**self.user, **self.item, **self.context})
        return self


def shared_with(feature: FeatureConfig) -> str | None:
    """Name the feature whose table a feature uses, if it has none of its own."""
    return getattr(feature, "share", None)


def _check_share(features: Mapping[str, FeatureConfig]) -> None:
    for name, feature in features.items():
        other = shared_with(feature)
        if other is None:
            continue
        target = features.get(other)
        if not isinstance(target, TokenFeature | ListFeature) or target.share is not None:
            can = [key for key, value in features.items() if isinstance(value, TokenFeature | ListFeature)]
            raise ValueError(
                f"{name} can't share the table of {other}: only a feature of kind token or token_list that "
                f"shares none itself can be named, of {', '.join(can) or 'which there is none'}"
            )
