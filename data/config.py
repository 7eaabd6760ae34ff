"""What a configuration says of data: which data set, how it is split, how its columns are encoded."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from torchtowers.handlers.request import RESERVED

__all__ = [
    "BucketsFeature",
    "DataConfig",
    "FeatureConfig",
    "FeaturesConfig",
    "HistoryFeature",
    "ListFeature",
    "Section",
    "SplitConfig",
    "TokenFeature",
    "WordsFeature",
]


class Section(BaseModel):
    """A part of a configuration: immutable, no unknown keys, no values bent into another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the interactions come from.

    Args:
        dataset: A named data set; see `torchtowers data fetch --help`.
        user: The column of the users' ids.
        item: The column of the items' ids.
        columns: Item columns that are kept beside the index, so that an answer can carry them.
    """

    dataset: Literal["movielens-100k"]
    user: str = "user_id"
    item: str = "item_id"
    columns: tuple[str, ...] = ()


class SplitConfig(Section):
    """How interactions are divided into training, validation and test.

    Args:
        kind: `random`: rows are shuffled with the seed; the first part trains, the last one tests.
        test_fraction: Part of all rows.
        validation_fraction: Part of the rows that are left for training; 0 trains on all of them.
        seed: Of the shuffle.
    """

    kind: Literal["random"] = "random"
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=42, ge=0, lt=2**63)


class TokenFeature(Section):
    """An id or a category, with a row for each value and one for unknown values."""

    kind: Literal["token"]


class ListFeature(Section):
    """A list of categories, such as genres; unknown ones are left out."""

    kind: Literal["token_list"]
    max_length: int = Field(default=32, ge=1)


class WordsFeature(Section):
    """A text's words.

    Args:
        min_count: Words that are rarer than this in the column are left out.
        max_length: Of a longer text the first words are kept.
    """

    kind: Literal["words"]
    min_count: int = Field(default=1, ge=1)
    max_length: int = Field(default=32, ge=1)


class BucketsFeature(Section):
    """A number, by the interval between ascending boundaries that it falls into."""

    kind: Literal["buckets"]
    boundaries: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ascending(self) -> "BucketsFeature":
        if any(low >= high for low, high in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ValueError("boundaries have to ascend")
        return self


class HistoryFeature(Section):
    """The items that a user liked in training, oldest first; the target of an example is left out of its own.

    Args:
        max_length: Of a longer history the last items are kept.
        minimum_rating: Rated below this, an item is not liked; None likes every interaction.
    """

    kind: Literal["history"]
    max_length: int = Field(default=100, ge=1)
    minimum_rating: float | None = None


FeatureConfig = Annotated[
    TokenFeature | ListFeature | WordsFeature | BucketsFeature | HistoryFeature, Field(discriminator="kind")
]


class FeaturesConfig(Section):
    """Each tower's inputs: the column's name, and how it is encoded.

    Args:
        user: Of the query tower.
        item: Of the candidate tower.
    """

    user: dict[str, FeatureConfig]
    item: dict[str, FeatureConfig]

    @model_validator(mode="after")
    def _consistent(self) -> "FeaturesConfig":
        for name in (*self.user, *self.item):
            # Names become file names, module names and fields of a request.
            if not name or any(character in name for character in "./\\") or name in RESERVED:
                raise ValueError(
                    f"a feature can't be called {name!r}: no '.', '/' or '\\' in it, "
                    f"and none of {', '.join(RESERVED)}"
                )
        both = sorted(self.user.keys() & self.item.keys())
        if both:
            raise ValueError(f"{', '.join(both)} is a feature of both towers; a name may stand once")
        if any(isinstance(feature, HistoryFeature) for feature in self.item.values()):
            raise ValueError("a history is a feature of the user, not of the item")
        if sum(isinstance(feature, HistoryFeature) for feature in self.user.values()) > 1:
            raise ValueError("at most one history")
        return self
