from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.frames import interactions_of
from tests.tiny import CONFIG, ITEMS, USERS, tiny_config, tiny_ranking_config, tiny_tables
from torchtowers.data.batches import Batches
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.errors import DataError
from torchtowers.data.feature_config import TokenFeature
from torchtowers.data.tables import Tables
from torchtowers.handlers.encoders import UNKNOWN
from torchtowers.models.config import RunConfig, parse_config


def prepared(tables: Tables | None = None, config: RunConfig | None = None) -> Dataset:
    config = config or tiny_config()
    return prepare(tables or tiny_tables(), config.data, config.split, config.features)


def tokens_of(dataset: Dataset, name: str) -> tuple[str, ...]:
    return dataset.encoders[name].vocabulary.tokens  # type: ignore[attr-defined,no-any-return]


def test_interactions_are_rows_of_the_tables() -> None:
    tables, dataset = tiny_tables(), prepared()
    pairs = set(interactions_of(tables).select("user_id", "item_id").iter_rows())
    found = {
        (dataset.users.tokens[user], dataset.items.tokens[item])
        for part in (dataset.train, dataset.validation, dataset.test)
        for user, item in zip(part.users, part.items, strict=True)
    }
    assert found == pairs
    assert len(dataset.users) == USERS
    assert len(dataset.items) == ITEMS
    assert dataset.item_table["item_id"].to_list() == list(dataset.items.tokens)


def test_the_history_holds_training_items_only_oldest_first() -> None:
    tables, dataset = tiny_tables(), prepared()
    assert dataset.full_history is not None
    times = {
        (user, item): time
        for user, item, time in interactions_of(tables).select("user_id", "item_id", "timestamp").iter_rows()
    }
    for user in range(USERS):
        items = (dataset.full_history[user] - 2).tolist()
        assert sorted(items) == sorted(dataset.train.items[dataset.train.users == user].tolist())
        when = [times[dataset.users.tokens[user], dataset.items.tokens[item]] for item in items]
        assert when == sorted(when)
        shown = dataset.users.take(np.array([user]))["history"][0]
        assert shown[shown > 0].tolist() == dataset.full_history[user][-12:].tolist()


def test_only_liked_items_are_in_the_history_where_a_rating_is_asked_for() -> None:
    config = tiny_config(
        features={
            "user": {"user_id": {"kind": "token"}, "history": {"kind": "history", "minimum_rating": 4.0}}
        }
    )
    tables, dataset = tiny_tables(), prepared(config=config)
    assert dataset.full_history is not None
    rated = {
        (user, item): rating
        for user, item, rating in interactions_of(tables).select("user_id", "item_id", "rating").iter_rows()
    }
    assert 0 < len(dataset.full_history.values) < len(dataset.train)
    for user in range(USERS):
        for item in dataset.full_history[user] - 2:
            assert rated[dataset.users.tokens[user], dataset.items.tokens[item]] >= 4


def test_an_item_may_have_the_users_that_had_it_in_training() -> None:
    item = {"item_id": {"kind": "token"}, "fans": {"kind": "history", "minimum_rating": 4.0}}
    config = tiny_config(features={"item": item}, split={"validation_fraction": 0.25})
    dataset = prepared(config=config)
    assert tokens_of(dataset, "fans") == dataset.users.tokens
    for known in (dataset, dataset.merged()):
        train = known.train
        assert train.labels is not None
        shown = known.examples(train)["fans"]
        for row in range(0, len(train), 7):
            had = (train.items == train.items[row]) & (train.labels >= 4)
            everyone = set(train.users[had].tolist())
            assert set(shown[row].tolist()) - {0} == {user + 2 for user in everyone - {train.users[row]}}
            served = known.items.take(train.items[row : row + 1])["fans"][0]
            assert set(served.tolist()) - {0} == {user + 2 for user in everyone}


def test_bounds_of_a_history_need_ratings() -> None:
    item = {"item_id": {"kind": "token"}, "fans": {"kind": "history", "minimum_rating": 4.0}}
    content = {**tiny_config(features={"item": item}).model_dump(), "data": {"interactions": "of tables"}}
    tables = tiny_tables()
    with pytest.raises(DataError, match="the bounds of fans need ratings"):
        prepared(replace(tables, interactions=tables.interactions.drop("rating")), parse_config(content))


def test_ids_of_an_earlier_run_are_kept() -> None:
    config = tiny_config()
    first = prepared()
    tables = tiny_tables()
    turned = replace(tables, users=tables.users.reverse(), items=tables.items.reverse())
    again = prepare(turned, config.data, config.split, config.features, first.fitted)
    assert again.users.tokens == first.users.tokens
    assert again.items.tokens == first.items.tokens
    for row in (0, 5, 17):
        for name, values in first.items.take(np.array([row])).items():
            assert (again.items.take(np.array([row]))[name] == values).all(), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: replace(t, users=t.users.drop("age")),
            "there is no column age; the users' table has user_id, gender",
        ),
        (
            lambda t: replace(t, items=pl.concat([t.items, t.items[:1].with_columns(title=pl.lit("other"))])),
            "item_id: 100 has 2 rows that differ",
        ),
        (
            lambda t: replace(t, items=t.items.with_columns(pl.lit("new").alias("year"))),
            "year is of kind buckets, which takes numbers; the column holds String",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(change: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        prepared(change(tiny_tables()))  # type: ignore[operator]


@pytest.mark.parametrize(
    "user", [{"gender": {"kind": "token"}}, {"user_id": {"kind": "hashed_token", "buckets": 4}}]
)
def test_users_are_told_apart_also_where_their_id_is_no_token(user: dict[str, object]) -> None:
    config = tiny_config(features={"user": user})
    dataset, usual = prepared(config=config), prepared()
    assert dataset.users.tokens == usual.users.tokens
    assert (dataset.train.users == usual.train.users).all()
    assert list(dataset.users.columns) == list(user)


def test_training_may_hold_the_validation_part() -> None:
    dataset = prepared(config=tiny_config(split={"validation_fraction": 0.25}))
    merged = dataset.merged()
    assert len(merged.train) == len(dataset.train) + len(dataset.validation)
    assert len(merged.validation) == 0
    for name in ("users", "items", "labels", "times"):
        both = np.concatenate([getattr(dataset.train, name), getattr(dataset.validation, name)])
        assert (getattr(merged.train, name) == both).all(), name
    assert merged.full_history is not None
    assert dataset.full_history is not None
    assert len(merged.full_history.values) == len(merged.train) > len(dataset.full_history.values)


def test_features_of_the_interactions_are_encoded_beside_them() -> None:
    tables = tiny_tables()
    table = tables.interactions.lazy().collect()
    device = [("phone", "desk")[row % 3 == 0] for row in range(table.height)]
    table = table.with_columns(device=pl.Series(device), rating=pl.Series([None, *table["rating"][1:]]))
    config = tiny_config(
        data={"rating": "rating", "dataset": None, "interactions": "given"}, split={"kind": "random"}
    )
    features = config.features.model_copy(update={"context": {"device": TokenFeature(kind="token")}})
    dataset = prepare(replace(tables, interactions=table), config.data, config.split, features)
    tokens = tokens_of(dataset, "device")
    expected = {
        (user, item): name
        for user, item, name in table[1:].select("user_id", "item_id", "device").iter_rows()
    }
    for part in (dataset.train, dataset.test):
        shown = dataset.examples(part)["device"]
        for row in range(len(part)):
            pair = (dataset.users.tokens[part.users[row]], dataset.items.tokens[part.items[row]])
            assert tokens[shown[row] - 2] == expected[pair]


def test_users_that_are_not_tested_are_told() -> None:
    tables = tiny_tables()
    alone = pl.DataFrame(
        {"user_id": ["u0"], "item_id": ["100"], "rating": [1.0], "timestamp": [1_600_000_000]}
    )
    table = tables.interactions.lazy().collect().filter(pl.col("user_id") != "u0")
    config = tiny_config(split={"kind": "leave_last_out"})
    dataset = prepared(replace(tables, interactions=pl.concat([table, alone])), config)
    assert "1 users have too few interactions to be tested: theirs train" in dataset.warnings
    first = dataset.users.tokens.index("u0")
    assert (dataset.train.users == first).sum() == 1
    assert (dataset.test.users == first).sum() == 0


def test_batches_cover_each_pair_once_and_tell_the_sampling_probability() -> None:
    dataset = prepared()
    batches = Batches(dataset, 50, seed=1)
    assert len(batches) == len(dataset.train) // 50
    drawn = list(batches.epoch(0))
    users = np.concatenate([batch.query["user_id"] for batch in drawn]) - 2
    items = np.concatenate([batch.items for batch in drawn])
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == 50 * len(batches)
    assert set(pairs) <= set(zip(dataset.train.users.tolist(), dataset.train.items.tolist(), strict=True))
    assert drawn[0].probability is not None
    for item, probability in zip(drawn[0].items, drawn[0].probability, strict=True):
        assert probability == pytest.approx((dataset.train.items == item).mean())
    assert (drawn[0].candidate["item_id"] == drawn[0].items + 2).all()


def test_epochs_differ_and_repeat_and_go_on_in_the_middle() -> None:
    batches = Batches(prepared(), 50, seed=1)
    first = [batch.items.tolist() for batch in batches.epoch(0)]
    assert first == [batch.items.tolist() for batch in batches.epoch(0)]
    assert first != [batch.items.tolist() for batch in batches.epoch(1)]
    assert first[3:] == [batch.items.tolist() for batch in batches.epoch(0, 3)]


def test_fewer_pairs_than_a_batch_make_one_smaller_batch() -> None:
    dataset = prepared()
    batches = Batches(dataset, 10_000, seed=1)
    assert (len(batches), batches.batch_size) == (1, len(dataset.train))


def typed(side: str, name: str, feature: dict[str, object]) -> RunConfig:
    features = {key: dict(value) for key, value in CONFIG["features"].items()}  # type: ignore[attr-defined]
    features[side][name] = feature
    return tiny_config(features=features)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side", "name", "feature", "said"),
    [
        (
            "item",
            "year",
            {"kind": "words"},
            "year is of kind words, which takes strings; .* Int64",
        ),
        ("user", "age", {"kind": "token_list"}, "age is of kind token_list, which takes lists"),
        (
            "item",
            "genres",
            {"kind": "token"},
            "genres is of kind token, which takes strings or integers",
        ),
        (
            "user",
            "gender",
            {"kind": "buckets", "boundaries": [1]},
            "gender is of kind buckets, .* numbers",
        ),
        ("user", "city", {"kind": "token"}, "there is no column city"),
    ],
)
def test_a_kind_that_does_not_fit_its_column_is_refused(
    side: str, name: str, feature: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        prepared(config=typed(side, name, feature))


def test_a_column_of_integers_can_be_a_token() -> None:
    dataset = prepared(config=typed("user", "age", {"kind": "token"}))
    assert tokens_of(dataset, "age") == tuple(sorted(str(10 + user) for user in range(USERS)))
    ages = dataset.users.columns["age"]
    assert sorted(ages) == list(range(2, USERS + 2))  # type: ignore[arg-type]


def test_ids_may_be_integers() -> None:
    def numbered(table: pl.DataFrame) -> pl.DataFrame:
        user = pl.col("user_id").str.slice(1).cast(pl.Int64) if "user_id" in table.columns else None
        item = pl.col("item_id").cast(pl.Int32) if "item_id" in table.columns else None
        return table.with_columns([column for column in (user, item) if column is not None])

    tables = tiny_tables()
    integers = Tables(numbered(interactions_of(tables)), numbered(tables.users), numbered(tables.items))
    dataset, strings = prepared(integers), prepared()
    assert dataset.users.tokens == tuple(token[1:] for token in strings.users.tokens)
    assert (dataset.train.users == strings.train.users).all()
    assert (dataset.train.items == strings.train.items).all()


def test_columns_of_the_interactions_that_are_not_there() -> None:
    tables = tiny_tables()
    for column in ("user_id", "item_id", "timestamp"):
        with pytest.raises(DataError, match=f"there is no column {column}"):
            prepared(replace(tables, interactions=tables.interactions.drop(column)))


def test_an_interaction_with_an_unknown_item_is_left_out_and_counted() -> None:
    tables = tiny_tables()
    fewer = replace(tables, items=tables.items.filter(pl.col("item_id") != "104"))
    lost = (interactions_of(tables)["item_id"] == "104").sum()
    dataset = prepared(fewer)
    assert dataset.dropped == {"interactions whose item_id is not in its table": lost}
    whole = len(dataset.train) + len(dataset.validation) + len(dataset.test)
    assert whole == interactions_of(tables).height - lost


@pytest.mark.parametrize("kind", ["random", "leave_last_out"])
def test_what_is_fitted_to_interactions_is_fitted_to_training_rows(kind: str) -> None:
    tables = tiny_tables()
    table = interactions_of(tables)
    features = {
        "user": {"user_id": {"kind": "token"}},
        "item": {"item_id": {"kind": "token", "min_count": 8}},
        "context": {"hour": {"kind": "number"}, "row": {"kind": "token"}},
    }
    row = np.arange(table.height)
    table = table.with_columns(hour=pl.Series(row % 24), row=pl.Series(row))
    config = tiny_ranking_config()
    content = config.model_dump(mode="json") | {"split": {"kind": kind, "validation_fraction": 0.3}}
    dataset = prepared(replace(tables, interactions=table), parse_config(content | {"features": features}))
    rows = {pair: number for number, pair in enumerate(table.select("user_id", "item_id").iter_rows())}
    train = dataset.train
    learnt = [
        rows[dataset.users.tokens[user], dataset.items.tokens[item]]
        for user, item in zip(train.users, train.items, strict=True)
    ]
    hours = np.array(learnt) % 24
    found = dataset.context_encoders["hour"].to_json()
    assert found["mean"] == pytest.approx(hours.mean())
    assert found["deviation"] == pytest.approx(hours.std())
    assert set(tokens_of(dataset, "row")) == {str(number) for number in learnt}
    for part in (dataset.validation, dataset.test):
        assert set(part.context["row"]) == {UNKNOWN}  # type: ignore[arg-type]
    counts = np.bincount(train.items, minlength=ITEMS)
    frequent = {token for token, count in zip(dataset.items.tokens, counts, strict=True) if count >= 8}
    assert 0 < len(frequent) < ITEMS
    assert set(tokens_of(dataset, "item_id")) == frequent


def test_encoders_of_an_earlier_run_are_taken_as_they_are() -> None:
    config, first, tables = tiny_config(), prepared(), tiny_tables()
    other = tables.items.with_columns(title=pl.lit("other words"), genres=pl.lit(["New"]))
    again = prepare(replace(tables, items=other), config.data, config.split, config.features, first.fitted)
    assert again.encoders == first.encoders
    assert not len(again.items.columns["title"].values)  # type: ignore[union-attr]


def test_an_earlier_run_without_a_features_encoder_is_refused() -> None:
    config = tiny_config()
    fitted = replace(prepared().fitted, encoders={})
    with pytest.raises(DataError, match="the run's encoders have none for item_id"):
        prepare(tiny_tables(), config.data, config.split, config.features, fitted)
