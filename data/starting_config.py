"""A configuration to begin with, from what files hold; its comments say why."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from torchtowers.data.column_profile import ColumnProfile
from torchtowers.data.describe import Description, TableDescription
from torchtowers.data.errors import DataError
from torchtowers.data.roles import Role, check_times, time_unit
from torchtowers.handlers.request import RESERVED

__all__ = ["starting_config", "write_starting_config"]

_HISTORY = "history"
_MANY = 100_000
_SKEWED = 10
# Of each user the last two interactions are kept from training, so that this many leave it some.
_ENOUGH = 4


def write_starting_config(description: Description, path: str | Path) -> None:
    """Write a configuration that `torchtowers train` takes.

    Args:
        description: What the files hold.
        path: The file; it must not be there yet.

    Raises:
        DataError: No columns look like the ids of users and items, or the file is there.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} is there already: choose another name, or remove it")
    text = starting_config(description, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def starting_config(description: Description, folder: str | Path) -> str:
    """Give the text of a configuration for retrieval.

    Args:
        description: What the files hold.
        folder: Where the configuration will lie; paths go from there.

    Raises:
        DataError: No columns look like the ids of users and items.
    """
    table = description.interactions
    user, item = table.named("user id"), table.named("item id")
    if user is None or item is None:
        missing = " and ".join(name for name, found in (("users", user), ("items", item)) if found is None)
        raise DataError(
            f"{table.path}: no column looks like the ids of the {missing}; there is "
            f"{', '.join(table.roles)}: name them, with --user-id and --item-id"
        )
    writer = _Writer(description, Path(folder), user, item)
    return "\n".join(writer.lines()) + "\n"


class _Writer:
    def __init__(self, description: Description, folder: Path, user: str, item: str) -> None:
        self.description, self.folder, self.user, self.item = description, folder, user, item
        self.table = description.interactions
        self.label, self.time = self.table.named("label"), _usable_time(self.table)
        self.users, self.items = (
            table if table is not None and key in table.roles else None
            for table, key in ((description.users, user), (description.items, item))
        )

    def lines(self) -> Iterator[str]:
        """Give the file's lines."""
        yield "# Retrieval: which items for a user. torchtowers data describe made this: look through it,"
        yield "# above all at the features. Every key can be overridden on the command line, such as"
        yield "# training.epochs=3, and torchtowers tune searches for better settings."
        yield ""
        yield from self._data()
        yield ""
        yield from self._split()
        yield ""
        yield from self._features()
        yield ""
        yield from _MODEL

    def _data(self) -> Iterator[str]:
        yield "data:"
        yield f"  interactions: {_text(self._path(self.table))}"
        for name, table in (("users", self.users), ("items", self.items)):
            if table is not None:
                yield f"  {name}: {_text(self._path(table))}"
        yield f"  user: {_text(self.user)}"
        yield f"  item: {_text(self.item)}"
        if self.label is not None:
            yield from self._labels(self.label)
        if self.time is not None:
            yield f"  timestamp: {_text(self.time)}"
            unit = time_unit(self.table.column(self.time))
            if unit not in (None, "s"):
                yield f"  timestamp_unit: {unit}"
        if self.description.repeated_pairs:
            repeated = self.description.repeated_pairs
            yield f"  # {repeated:,} interactions repeat a user and an item; `keep` has all."
            yield "  duplicates: last"
        if self.items is not None:
            kept = [name for name, role in self.items.roles.items() if role == "text"][:3]
            if kept:
                yield "  # Item columns that an answer can carry."
                yield f"  columns: {_flow(kept)}"

    def _labels(self, label: str) -> Iterator[str]:
        column = self.table.column(label)
        yield f"  rating: {_text(label)}"
        if column.dtype == pl.Boolean or (column.low, column.high) == (0, 1):
            yield "  # 0 is no interaction to learn from."
            yield "  minimum_rating: 1"
        else:
            yield "  # Every rating counts as an interaction; this would take those from 4 on only."
            yield "  # minimum_rating: 4"

    def _split(self) -> Iterator[str]:
        per_user = self.description.per_user
        median = per_user.quantiles["median"] if per_user else 0
        if self.time is not None and median >= _ENOUGH:
            yield "# Each user's last interaction tests, and the one before validates."
            yield "split: {kind: leave_last_out, validation_fraction: 0.1}"
        elif self.time is not None:
            yield "# The latest tenth tests, and the tenth before it validates; users have too few"
            yield "# interactions to leave each one's last out."
            yield "split: {kind: time, test_fraction: 0.1, validation_fraction: 0.111}"
        elif median >= 2 * _ENOUGH:
            yield "# Of each user a tenth tests, and a ninth of what is left validates; there are no times."
            yield "split: {kind: per_user, test_fraction: 0.1, validation_fraction: 0.111, seed: 42}"
        else:
            yield "# A tenth tests, and a ninth of what is left validates; there are no times."
            yield "split: {kind: random, test_fraction: 0.1, validation_fraction: 0.111, seed: 42}"

    def _features(self) -> Iterator[str]:
        taken = {self.item, _HISTORY}
        yield "features:"
        yield "  user:"
        yield "    # The items that the user had: also known of one who came after training."
        yield f"    {_HISTORY}: {{kind: history, max_length: 200}}"
        yield from self._of_table(self.users, self.user, taken)
        yield "  item:"
        yield f"    {_text(self.item)}: {{kind: token}}"
        yield from self._of_table(self.items, self.item, taken)
        yield from self._context(taken)

    def _of_table(self, table: TableDescription | None, key: str, taken: set[str]) -> Iterator[str]:
        if table is None:
            return
        for column in table.columns:
            if column.name == key:
                continue
            reason = _unusable(column, table.roles[column.name], taken)
            if reason is not None:
                yield f"    # {_text(column.name)}: {reason}"
                continue
            taken.add(column.name)
            yield from _feature(column, table.roles[column.name])

    def _context(self, taken: set[str]) -> Iterator[str]:
        known = {self.user, self.item, self.label, self.time}
        lines: list[str] = []
        for column in self.table.columns:
            role = self.table.roles[column.name]
            if column.name not in known and _unusable(column, role, taken) is None:
                lines += [line for line in _feature(column, role) if not line.lstrip().startswith("#")]
        if lines:
            yield "  # Columns of the interactions known when a request comes; for model.kind: ranking."
            yield "  # context:"
            yield from (f"  # {line[2:]}" for line in lines)

    def _path(self, table: TableDescription) -> str:
        whole = Path(table.path).expanduser().absolute()
        return Path(os.path.relpath(whole, self.folder.absolute())).as_posix()


def _usable_time(table: TableDescription) -> str | None:
    """Name the interactions' times, if training takes them."""
    name = table.named("time")
    return name if name is not None and _are_times(table.column(name)) else None


def _are_times(column: ColumnProfile) -> bool:
    try:
        check_times(column)
    except DataError:
        return False
    return True


def _unusable(column: ColumnProfile, role: Role, taken: set[str]) -> str | None:
    """Say why a column is left out."""
    known = column.rows - column.nulls
    if not known:
        return "has no value"
    if column.distinct == 1:
        return "has one value only"
    if column.name in taken:
        return "another feature has this name: rename the column"
    if not column.name or any(character in column.name for character in "./\\") or column.name in RESERVED:
        return "a feature can't have this name: rename the column"
    if column.not_finite:
        return "has values that are NaN or infinite: make them null"
    if role == "other":
        return f"{column.dtype} is no kind of feature"
    if role == "time" and not _are_times(column):
        return "has times that are not from 1970 to 2100"
    if role == "id" and column.dtype == pl.String and known > 100 and (column.distinct or 0) > 0.9 * known:
        return "nearly each row has its own value, which tells nothing of others"
    return None


def _feature(column: ColumnProfile, role: Role) -> Iterator[str]:
    settings, why = _kind(column, role)
    if why:
        yield f"    # {why}"
    yield f"    {_text(column.name)}: {_flow(settings)}"


def _kind(column: ColumnProfile, role: Role) -> tuple[Mapping[str, Any], str]:
    """Give a feature's settings, and why where that is not plain."""
    distinct = column.distinct or 0
    match role:
        case "boolean":
            return {"kind": "boolean"}, ""
        case "number":
            return _number(column)
        case "time":
            unit = time_unit(column)
            return {"kind": "timestamp"} | ({"unit": unit} if unit not in (None, "s") else {}), ""
        case "text":
            return {"kind": "words"}, ""
        case "list":
            return {"kind": "token_list"}, ""
        case "weighted list":
            return {"kind": "token_list", "weighted": True}, ""
        case "vector":
            return {"kind": "vector"}, ""
        case _ if distinct > _MANY:
            buckets = 2 ** (distinct // 4).bit_length()
            return {
                "kind": "hashed_token",
                "buckets": buckets,
            }, f"About {distinct:,} values share rows by their hash."
    rare = distinct > 100
    settings = {"kind": "token"} | ({"min_count": 2} if rare else {})
    return settings, f"{distinct:,} values; those that stand once are taken for unknown." if rare else ""


def _number(column: ColumnProfile) -> tuple[Mapping[str, Any], str]:
    mean = column.mean or 0.0
    if column.low is not None and column.low >= 0 and column.high > _SKEWED * mean > 0:
        return (
            {"kind": "number", "transform": "log"},
            f"From {column.low:g} to {column.high:g} with a mean of {mean:.3g}: by its logarithm.",
        )
    return {"kind": "number"}, ""


def _text(value: str) -> str:
    """Give a text as YAML has it in one line, quoted where it must be."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True).splitlines()[0]


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True
    )
    return text.strip()


_MODEL = """\
# The width of the embeddings and the users a batch follow from the data.
model:
  kind: two_tower
  examples: hidden_items
  pooling: sqrtn
  dropout: 0.3
  unknown_rate: 0.05
  candidate_dropout: 0.0
  normalize: true
  item_bias: true
  temperature: 0.2

training:
  # At most; the best number is found on the validation part, and a model is then trained for as long on
  # training and validation part together.
  epochs: 120
  embedding_learning_rate: 0.002
  dense_learning_rate: 0.001
  warmup: 0.05
  final_learning_rate: 0.1
  early_stopping: {patience: 15}
  refit: true
  seed: 1

evaluation: {accuracy_at: [1, 10, 100], ranking_at: [10, 20]}""".splitlines()
