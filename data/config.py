"""What a configuration says of data: which data set, and how it is split."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from torchtowers.data.section import Section

__all__ = ["DataConfig", "SplitConfig"]


class DataConfig(Section):
    """Where the interactions come from: a named data set, or files.

    A path names a file (`.parquet`, `.csv`, `.tsv`, the latter two also `.gz`), a folder of shards, or a
    pattern such as `days/2024-*.parquet`.

    Args:
        dataset: A named data set; see `torchtowers data fetch --help`.
        interactions: The path of the interactions.
        users: The path of the users; without it, they are those of the interactions.
        items: The path of the items, likewise.
        user: The column of the users' ids.
        item: The column of the items' ids.
        rating: The interactions' column of labels: ratings, or 1 and 0 for clicks; None if there is none.
        timestamp: The interactions' column of times; None if there is none.
        timestamp_unit: Of integers since 1970; None takes seconds.
        minimum_rating: Interactions rated below this are left out; for retrieval, where what is left counts
            as liked.
        duplicates: Of one user and item: `keep` all, or only the `first` or the `last` (by time, where there
            are times).
        columns: Item columns that are kept beside the index, so that an answer can carry them.
    """

    dataset: Literal["movielens-100k"] | None = None
    interactions: str | None = None
    users: str | None = None
    items: str | None = None
    user: str = "user_id"
    item: str = "item_id"
    rating: str | None = None
    timestamp: str | None = None
    timestamp_unit: Literal["s", "ms", "us", "ns"] | None = None
    minimum_rating: float | None = None
    duplicates: Literal["keep", "first", "last"] = "keep"
    columns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        if self.dataset is not None and (self.interactions or self.users or self.items):
            raise ValueError("either dataset or paths of files, not both")
        named = [name for name in (self.user, self.item, self.label, self.time) if name is not None]
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise ValueError(
                f"user, item, rating and timestamp have a column each, and {twice[0]} is named twice"
            )
        if self.minimum_rating is not None and self.rating is None and self.dataset is None:
            raise ValueError("minimum_rating needs rating, the column that it looks at")
        return self

    @property
    def label(self) -> str | None:
        """The column of labels; a named data set has one."""
        return "rating" if self.rating is None and self.dataset is not None else self.rating

    @property
    def time(self) -> str | None:
        """The column of times; a named data set has one."""
        return "timestamp" if self.timestamp is None and self.dataset is not None else self.timestamp


class SplitConfig(Section):
    """How interactions are divided into training, validation and test.

    Args:
        kind: `random`: rows are shuffled with the seed; the first part trains, the last one tests.
            `per_user`: the same for each user's rows. `leave_last_out`: each user's last interaction tests,
            and the one before validates if there is a `validation_fraction`. `time`: the latest rows test.
            `column`: a column says train, validation or test. `files`: each part has its own path.
        test_fraction: Part of all rows.
        validation_fraction: Part of the rows that are left for training; 0 trains on all of them.
        seed: Of the shuffle.
        test_from: Of kind `time`, in place of the fractions: rows from then on test, such as `2024-03-01` or
            `2024-03-01T12:00:00+01:00`; without a zone it is UTC.
        validation_from: Likewise, of the rows before; None has no validation part.
        column: The interactions' column, of kind `column`.
        train: The path of the training interactions, of kind `files`; in place of `data.interactions`.
        validation: Likewise of the validation part, if there is one.
        test: Likewise of the test part.
    """

    kind: Literal["random", "per_user", "leave_last_out", "time", "column", "files"] = "random"
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=42, ge=0, lt=2**63)
    test_from: str | None = None
    validation_from: str | None = None
    column: str | None = None
    train: str | None = None
    validation: str | None = None
    test: str | None = None

    @field_validator("test_from", "validation_from", mode="before")
    @classmethod
    def _is_time(cls, value: object) -> object:
        if isinstance(value, date):  # which YAML makes of a date without quotes
            return value.isoformat()
        if isinstance(value, str):
            datetime.fromisoformat(value)
        return value

    @property
    def has_validation(self) -> bool:
        """Whether a validation part is asked for by its size."""
        if self.test_from is not None:
            return self.validation_from is not None
        return self.validation_fraction > 0

    @model_validator(mode="after")
    def _consistent(self) -> "SplitConfig":
        if self.test_from is not None and self.kind != "time":
            raise ValueError("test_from is for kind time")
        if self.validation_from is not None and self.test_from is None:
            raise ValueError("validation_from needs test_from")
        if (self.kind == "column") != (self.column is not None):
            raise ValueError("kind column and a column's name go together")
        if (self.kind == "files") != (self.train is not None and self.test is not None):
            raise ValueError("kind files and the paths train and test go together")
        if self.validation is not None and self.kind != "files":
            raise ValueError("a path of the validation part is for kind files")
        return self
