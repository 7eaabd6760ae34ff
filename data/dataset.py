"""From tables and a configuration to what a model trains on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data.cleaning import column_of
from torchtowers.data.column_encoding import Column, taken
from torchtowers.data.config import DataConfig, SplitConfig
from torchtowers.data.context import encode_context
from torchtowers.data.errors import DataError, shorten
from torchtowers.data.feature_config import FeatureConfig, FeaturesConfig, HistoryFeature
from torchtowers.data.feature_fitting import fit_encoders
from torchtowers.data.features import EntityTable, encode_table
from torchtowers.data.fitted import Fitted
from torchtowers.data.history import History
from torchtowers.data.ingestion import Ingested, ingest
from torchtowers.data.interactions import Interactions
from torchtowers.data.leakage import leakage_of
from torchtowers.data.mapped import spans
from torchtowers.data.ragged import Ragged
from torchtowers.data.splits import (
    PARTS,
    Split,
    split_by_part,
    split_by_time,
    split_leave_last_out,
    split_per_user,
    split_random,
)
from torchtowers.data.tables import Tables
from torchtowers.handlers.encoders import Encoder, Vocabulary

__all__ = ["Dataset", "prepare"]


@dataclass(frozen=True)
class Dataset:
    """Encoded users and items, and the interactions of each part of the split.

    Args:
        users: With their histories, where the configuration has such, as they are when training is past.
        items: The catalogue.
        histories: By feature, what users had in training; the tokens are the items' ids.
        audiences: By the item's feature, which users had it in training; the tokens are the users' ids.
        context_encoders: Of the interactions' own features.
        train: Interactions to learn from.
        validation: Interactions to choose settings by; may be empty.
        test: Interactions to report on.
        item_table: The items' own columns, in the order of `items`.
        dropped: How many rows of the tables were left out, by the reason.
        warnings: What a person should look at.
    """

    users: EntityTable
    items: EntityTable
    histories: Mapping[str, History]
    audiences: Mapping[str, History]
    context_encoders: Mapping[str, Encoder]
    train: Interactions
    validation: Interactions
    test: Interactions
    item_table: pl.DataFrame
    dropped: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def history(self) -> str | None:
        """The history that a request may exclude: the first one without bounds, or else the first one."""
        for name, history in self.histories.items():
            if history.feature.minimum_rating is None and history.feature.maximum_rating is None:
                return name
        return next(iter(self.histories), None)

    @property
    def full_history(self) -> Ragged | None:
        """For each user, that history's indices before they are cut to its `max_length`."""
        return None if self.history is None else self.histories[self.history].items

    @property
    def encoders(self) -> dict[str, Encoder]:
        """All features' encoders: a ranking model's inputs."""
        return {**self.users.encoders, **self.items.encoders, **self.context_encoders}

    @property
    def fitted(self) -> Fitted:
        """What a later `prepare` takes, so that a model's inputs are made as they were for its training."""
        return Fitted(self.users.ids, self.items.ids, self.encoders)

    def query(self, interactions: Interactions) -> dict[str, NDArray[Any]]:
        """Give the query's features of examples, with their histories as they may see them."""
        features = self.users.take(interactions.users)
        for name, history in self.histories.items():
            features[name] = history.take_examples(interactions.users, interactions.items, interactions.times)
        return features

    def examples(self, interactions: Interactions) -> dict[str, NDArray[Any]]:
        """Give all features of examples: the query's, the item's and the context's."""
        every = np.arange(len(interactions))
        items = self.items.take(interactions.items)
        for name, audience in self.audiences.items():
            items[name] = audience.take_examples(interactions.items, interactions.users, interactions.times)
        context = {name: taken(column, every) for name, column in interactions.context.items()}
        return {
            **self.query(interactions),
            **items,
            **{name: _padded(column) for name, column in context.items()},
        }

    def merged(self) -> "Dataset":
        """Give the data set whose training part holds the validation part too."""
        train = self.train.joined(self.validation)
        histories = {
            name: _history(history.feature, train, len(self.users), history.order)
            for name, history in self.histories.items()
        }
        audiences = {
            name: _history(audience.feature, train.turned(), len(self.items), audience.order)
            for name, audience in self.audiences.items()
        }
        return replace(
            self,
            users=replace(self.users, columns={**self.users.columns, **_shown(histories)}),
            items=replace(self.items, columns={**self.items.columns, **_shown(audiences)}),
            histories=histories,
            audiences=audiences,
            train=train,
            validation=self.validation.take(np.empty(0, dtype=np.int64)),
        )


def prepare(
    tables: Tables,
    data: DataConfig,
    split: SplitConfig,
    features: FeaturesConfig,
    fitted: Fitted | None = None,
) -> Dataset:
    """Clean, split, fit encoders or take those of an earlier run, and encode.

    What is fitted to interactions, the encoders of `features.context` and the ids that `min_count` keeps, is
    fitted to those of the training part.

    Args:
        tables: The data set.
        data: Which columns are what.
        split: How interactions are divided.
        features: What each tower takes.
        fitted: Of an earlier run; rows of ids that it does not know are left out. None fits anew.

    Raises:
        DataError: The tables and the configuration don't fit each other.
    """
    ids = {} if fitted is None else {data.user: fitted.users, data.item: fitted.items}
    ingested = ingest(tables, data, split, ids)
    item_table, user_table = ingested.items, ingested.users
    if fitted is None:
        ids = {data.user: Vocabulary(user_table[data.user]), data.item: Vocabulary(item_table[data.item])}
    for name in data.columns:
        column_of(item_table, name, "data.columns", "the items' table")
    rows = _split(ingested, split)
    given = None if fitted is None else fitted.encoders
    item_encoders = fit_encoders(
        features.item,
        item_table,
        data.item,
        data.user,
        ids,
        section="item",
        counts=_counts(ingested.pairs.items, rows.train, item_table.height),
        fitted=given,
    )
    user_encoders = fit_encoders(
        features.user,
        user_table,
        data.user,
        data.item,
        ids,
        section="user",
        counts=_counts(ingested.pairs.users, rows.train, user_table.height),
        others=item_encoders,
        fitted=given,
    )
    context_encoders, context = encode_context(
        features.context,
        tables.interactions,
        ingested.rows,
        rows.train,
        data.item,
        ids,
        {**item_encoders, **user_encoders},
        given,
    )
    pairs = replace(ingested.pairs, context=context)
    train, validation, test = (pairs.select(getattr(rows, part)) for part in PARTS)
    histories = _histories(features.user, train, user_table.height, split)
    audiences = _histories(features.item, train.turned(), item_table.height, split)
    encoders = {**user_encoders, **item_encoders, **context_encoders}
    warnings = (
        *ingested.warnings,
        *_without_choice(encoders),
        *_without_times(pairs, {**histories, **audiences}),
        *_untested(pairs, split),
        *leakage_of(train, validation, test, split.kind, {**histories, **audiences}),
    )
    return Dataset(
        users=encode_table(user_table, data.user, ids[data.user], user_encoders, _shown(histories)),
        items=encode_table(item_table, data.item, ids[data.item], item_encoders, _shown(audiences)),
        histories=histories,
        audiences=audiences,
        context_encoders=context_encoders,
        train=train,
        validation=validation,
        test=test,
        item_table=item_table,
        dropped=ingested.dropped,
        warnings=warnings,
    )


def _counts(of: NDArray[np.int64], rows: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Count in how many of some interactions each user or item is, int64 `[length]`."""
    counts = np.zeros(length, dtype=np.int64)
    for first, last in spans(len(rows)):
        counts += np.bincount(of[rows[first:last]], minlength=length)
    return counts


def _split(ingested: Ingested, config: SplitConfig) -> Split:
    pairs = ingested.pairs
    match config.kind:
        case "random":
            return split_random(len(pairs), config)
        case "per_user":
            return split_per_user(pairs.users, config)
        case "column" | "files":
            assert ingested.parts is not None
            return split_by_part(ingested.parts, f"split.{config.kind}")
    if pairs.times is None:
        raise DataError(f"split.kind: {config.kind} goes by time: name its column, data.timestamp")
    if config.kind == "time":
        return split_by_time(pairs.times, config)
    return split_leave_last_out(pairs.users, pairs.times, config)


def _untested(pairs: Interactions, config: SplitConfig) -> Iterator[str]:
    """Say how many users a split by user leaves out of the test part."""
    counts = np.bincount(pairs.users)
    tested = np.rint(counts * config.test_fraction) if config.kind == "per_user" else counts - 1
    few = int(((counts > 0) & (tested < 1)).sum())
    if few and config.kind in ("per_user", "leave_last_out"):
        yield f"{few:,} users have too few interactions to be tested: theirs train"


def _without_choice(encoders: Mapping[str, Encoder]) -> Iterator[str]:
    """Name the features of one value; a history lists ids that are looked at by themselves."""
    for name, encoder in encoders.items():
        tokens: tuple[str, ...] = getattr(getattr(encoder, "vocabulary", None), "tokens", ())
        if len(tokens) == 1:
            value = shorten(tokens[0])
            yield f"features: {name} has one value only, {value}: there is nothing to learn from it"


def _without_times(pairs: Interactions, histories: Mapping[str, History]) -> Iterator[str]:
    if pairs.times is None:
        for name in histories:
            yield (
                f"features: there are no times (data.timestamp), so {name} is in the order of the "
                "interactions' rows"
            )


def _order(feature: HistoryFeature, split: SplitConfig, train: Interactions) -> Any:
    """Say what an example shows, where the configuration leaves it to the split."""
    if feature.order != "auto":
        if feature.order == "preceding" and train.times is None:
            raise DataError("a history of order preceding goes by time: name its column, data.timestamp")
        return feature.order
    is_in_time = split.kind not in ("random", "per_user") and train.times is not None
    return "preceding" if is_in_time else "others"


def _histories(
    features: Mapping[str, FeatureConfig], train: Interactions, count: int, split: SplitConfig
) -> dict[str, History]:
    histories: dict[str, History] = {}
    for name, feature in features.items():
        if not isinstance(feature, HistoryFeature):
            continue
        if train.labels is None and (feature.minimum_rating, feature.maximum_rating) != (None, None):
            raise DataError(f"features: the bounds of {name} need ratings: name their column, data.rating")
        histories[name] = _history(feature, train, count, _order(feature, split, train))
    return histories


def _shown(histories: Mapping[str, History]) -> dict[str, Ragged]:
    return {name: history.shown for name, history in histories.items()}


def _history(feature: HistoryFeature, train: Interactions, count: int, order: Any) -> History:
    return History.build(
        feature,
        train.users,
        train.items,
        count=count,
        labels=train.labels,
        times=train.times,
        order=order,
    )


def _padded(column: Column) -> NDArray[Any]:
    return column.take(np.arange(len(column))) if isinstance(column, Ragged) else column
