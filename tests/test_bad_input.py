"""Input that people really have, through `torchtowers train`: refused in one line, or dropped and counted."""

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from torchtowers.cli.main import main
from torchtowers.models.run import Run

Change = Callable[[pl.DataFrame], pl.DataFrame]
FORMATS = ("csv", "parquet")
KINDS = ("retrieval", "ranking", "sequential")
START = 1_700_000_000


def tables() -> dict[str, pl.DataFrame]:
    """Make ten users and twelve items, each of which has interactions."""
    pairs = [(user, item) for user in range(10) for item in range(12) if (user + item) % 3]
    return {
        "interactions": pl.DataFrame(
            {
                "user": [f"u{user}" for user, _ in pairs],
                "item": [f"i{item}" for _, item in pairs],
                "rating": [float(1 + (user * item) % 5) for user, item in pairs],
                "at": [START + (user * 7 + item * 13) % 50 * 1000 for user, item in pairs],
                "hour": [(user + item) % 24 for user, item in pairs],
            }
        ),
        "users": pl.DataFrame(
            {"user": [f"u{user}" for user in range(10)], "age": [20 + user for user in range(10)]}
        ),
        "items": pl.DataFrame(
            {
                "item": [f"i{item}" for item in range(12)],
                "price": [1.5 * item for item in range(12)],
                "genre": [f"genre {item % 3}" for item in range(12)],
            }
        ),
    }


TOKEN, NUMBER = {"kind": "token"}, {"kind": "number"}
DATA = {"user": "user", "item": "item", "rating": "rating", "timestamp": "at"}
CONFIGS: dict[str, dict[str, Any]] = {
    "retrieval": {
        "features": {
            "user": {"user": TOKEN, "age": NUMBER, "history": {"kind": "history"}},
            "item": {"item": TOKEN, "price": NUMBER, "genre": TOKEN},
        },
        "model": {"kind": "two_tower", "embedding_dim": 4, "dim": 4},
    },
    "ranking": {
        "features": {
            "user": {"user": TOKEN, "age": NUMBER},
            "item": {"item": TOKEN, "price": NUMBER, "genre": TOKEN},
            "context": {"hour": NUMBER},
        },
        "model": {"kind": "ranking", "embedding_dim": 4, "hidden": [4]},
    },
    "sequential": {
        "split": {"kind": "leave_last_out"},
        "features": {"user": {"history": {"kind": "history", "max_length": 5}}, "item": {"item": TOKEN}},
        "model": {"kind": "sequential", "dim": 4, "hidden": 4},
    },
}


@dataclass(frozen=True)
class Outcome:
    """What a person sees of a training."""

    code: int
    lines: list[str]
    run: Run

    @property
    def metrics(self) -> dict[str, Any]:
        return json.loads((self.run.folder / "metrics.json").read_text())  # type: ignore[no-any-return]


Train = Callable[..., Outcome]


@pytest.fixture
def train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Train:
    """Give what writes files and a configuration, and types the command."""

    def typed(
        kind: str,
        form: str = "csv",
        change: Mapping[str, Change] | None = None,
        files: Mapping[str, bytes] | None = None,
        **sections: Any,
    ) -> Outcome:
        content = {
            "data": {**DATA, **{name: f"{name}.{form}" for name in tables()}},
            "training": {"epochs": 1, "batch_size": 16, "threads": 1},
            "evaluation": {"accuracy_at": [3], "ranking_at": [3]},
            **copy.deepcopy(CONFIGS[kind]),
        }
        for name, values in sections.items():
            content[name] = _merged(content.get(name, {}), values)
        for name, table in tables().items():
            changed = change[name](table) if change and name in change else table
            (changed.write_csv if form == "csv" else changed.write_parquet)(tmp_path / f"{name}.{form}")
        for name, written in (files or {}).items():
            (tmp_path / name).write_bytes(written)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        code = main(["train", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")])
        return Outcome(code, capsys.readouterr().err.splitlines(), Run(tmp_path / "run"))

    return typed


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Put values into sections; None takes one away."""
    merged = dict(old)
    for name, value in new.items():
        merged[name] = _merged(merged.get(name, {}), value) if isinstance(value, dict) else value
    return {name: value for name, value in merged.items() if value is not None}


def refused(outcome: Outcome, said: str) -> None:
    """See that the one line says it, and that nothing was begun."""
    assert outcome.code == 2
    *before, last = outcome.lines
    assert last.startswith("torchtowers: ")
    assert not [line for line in before if line.startswith("torchtowers: ")]
    assert re.search(said, last), last
    assert not outcome.run.folder.exists()
    assert not [path for path in outcome.run.folder.parent.iterdir() if path.name.startswith(".")]


def accepted(outcome: Outcome, dropped: Mapping[str, int], warned: str | None = None) -> None:
    """See that what was dropped is told and counted, and that the rule is told and kept."""
    assert outcome.code == 0, outcome.lines
    metrics = outcome.metrics
    assert metrics["dropped"] == dropped
    for reason, count in dropped.items():
        assert f"dropped: {count:,} {reason}" in outcome.lines
    found = [line for line in metrics["warnings"] if warned is not None and re.search(warned, line)]
    assert bool(found) == (warned is not None), metrics["warnings"]
    for line in metrics["warnings"]:
        assert f"warning: {line}" in outcome.lines


def renamed(old: str, new: str) -> Change:
    return lambda table: table.rename({old: new})


def put(name: str, value: Any, rows: tuple[int, ...] | None = None) -> Change:
    """Give a change of a column's values, in some rows or in all; text where other rows can't be it."""

    def change(table: pl.DataFrame) -> pl.DataFrame:
        if rows is None:
            return table.with_columns(pl.lit(value).alias(name))
        old = table[name].cast(pl.String) if isinstance(value, str) else table[name]
        values = [value if row in rows else kept for row, kept in enumerate(old.to_list())]
        return table.with_columns(pl.Series(name, values, strict=False))

    return change


def scaled(name: str, by: int) -> Change:
    return lambda table: table.with_columns(pl.col(name) * by)


def of(name: str, *values: str) -> Change:
    return lambda table: table.filter(pl.col(name).is_in(values))


def more(rows: Change) -> Change:
    return lambda table: pl.concat([table, rows(table)])


def one_left(user: str) -> Change:
    return lambda table: pl.concat(
        [table.filter(pl.col("user") != user), table.filter(pl.col("user") == user)[:1]]
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_is_trained_without_a_word(kind: str, form: str, train: Train) -> None:
    outcome = train(kind, form)
    accepted(outcome, {})
    assert outcome.metrics["warnings"] == []


ENTITIES = ("retrieval", "ranking")
# Which kinds take it, its table, the key that names it, and how the table is called.
MISSING: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "user": (KINDS, "interactions", "data.user", "the interactions' table"),
    "item": (KINDS, "interactions", "data.item", "the interactions' table"),
    "rating": (KINDS, "interactions", "data.rating", "the interactions' table"),
    "at": (KINDS, "interactions", "data.timestamp", "the interactions' table"),
    "item of items": (KINDS, "items", "data.item", "the items' table"),
    "user of users": (KINDS, "users", "data.user", "the users' table"),
    "age": (ENTITIES, "users", "features.user", "the users' table"),
    "price": (ENTITIES, "items", "features.item", "the items' table"),
    "hour": (("ranking",), "interactions", "features.context", "the interactions' table"),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for name, (kinds, *_) in MISSING.items() for kind in kinds]
)
def test_a_missing_column(kind: str, name: str, form: str, train: Train) -> None:
    _, table, key, called = MISSING[name]
    column = name.split()[0]
    outcome = train(kind, form, {table: renamed(column, "x")})
    refused(outcome, f"{key}: there is no column {column}; {called} has .*x.*: name one of these, or add the")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"data": {"columns": ["title"]}}, r"data\.columns: there is no column title; the items' table has"),
        (
            {"split": {"kind": "column", "column": "part"}},
            r"split\.column: there is no column part; .* has at, user, item,",
        ),
    ],
    ids=["kept column", "split column"],
)
def test_a_missing_column_that_another_key_names(sections: dict[str, Any], said: str, train: Train) -> None:
    refused(train("retrieval", **sections), said)


WRONG: dict[str, tuple[tuple[str, ...], str, Change, str]] = {
    "text for a rating": (
        KINDS,
        "interactions",
        put("rating", "good", (3,)),
        "rating: .* holds String, such as good",
    ),
    "text for a time": (
        KINDS,
        "interactions",
        put("at", "soon", (3,)),
        "at: got soon, which is no time: expected",
    ),
    "true for a time": (
        KINDS,
        "interactions",
        put("at", value=True),
        "at: times are numbers .* holds Boolean",
    ),
    "text for a number": (
        ("retrieval", "ranking"),
        "items",
        put("price", "cheap", (3,)),
        r"features\.item: price is of kind number, which takes numbers; the column holds String, such as",
    ),
    "text for a context": (
        ("ranking",),
        "interactions",
        put("hour", "noon"),
        r"features\.context: hour is of kind number, which takes numbers; .* String, such as noon",
    ),
    "numbers for a category": (
        ("retrieval", "ranking"),
        "items",
        put("genre", 1.5),
        r"features\.item: genre is of kind token, which takes strings or integers; .* Float64, such as 1\.5",
    ),
    "a column without a value": (
        ("retrieval", "ranking"),
        "users",
        put("age", None),
        r"features\.user: the column age has no value: leave it out",
    ),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for name, (kinds, *_) in WRONG.items() for kind in kinds]
)
def test_a_column_of_the_wrong_type(kind: str, name: str, form: str, train: Train) -> None:
    _, table, change, said = WRONG[name]
    refused(train(kind, form, {table: change}), said)


def test_ids_that_are_no_ids(train: Train) -> None:
    floats = {"interactions": lambda table: table.with_columns(pl.col("user").str.slice(1).cast(pl.Float64))}
    refused(train("retrieval", "parquet", floats), "user: ids are text or integers, .* Float64: cast it")
    # In a CSV all ids are text, which other ids are not.
    refused(
        train("retrieval", "csv", floats),
        r"80 interactions whose user is not in its table; user is 0\.0 here, and u0 in its table",
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_nulls_in_ids(kind: str, form: str, train: Train) -> None:
    change = {
        "interactions": lambda table: put("item", "", (5,))(put("user", None, (1, 2))(table)),
        "items": more(lambda table: put("item", None)(table[:1]).cast(table.schema)),
    }
    accepted(
        train(kind, form, change),
        {
            "rows of the item table without an id": 1,
            "interactions without user": 2,
            "interactions without item": 1,
        },
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_times_that_are_missing(kind: str, form: str, train: Train) -> None:
    def change(table: pl.DataFrame) -> pl.DataFrame:
        table = put("rating", float("inf"), (4,))(put("rating", float("nan"), (3,))(table))
        return put("at", None, (5,))(put("rating", None, (1, 2))(table))

    accepted(
        train(kind, form, {"interactions": change}),
        {
            "interactions without rating": 3,
            "interactions whose rating is infinite": 1,
            "interactions without at": 1,
        },
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_interactions(kind: str, form: str, train: Train) -> None:
    change = {"interactions": more(lambda table: table[:4])}
    accepted(
        train(kind, form, change), {}, r"4 interactions repeat .* all are kept \(data\.duplicates: keep\)"
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_interactions_of_which_one_is_kept(kind: str, form: str, train: Train) -> None:
    outcome = train(kind, form, {"interactions": more(lambda table: table[:4])}, data={"duplicates": "last"})
    accepted(outcome, {"interactions that repeat a user and an item, the last one kept": 4})
    data = outcome.metrics["data"]
    assert data["train"] + data["test"] == tables()["interactions"].height


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_item_rows(kind: str, form: str, train: Train) -> None:
    accepted(
        train(kind, form, {"items": more(lambda table: table[:3])}),
        {"rows that repeat another of the item table": 3},
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_duplicate_item_rows_that_differ(kind: str, form: str, train: Train) -> None:
    change = {"items": more(lambda table: put("price", 99.0)(table[:2]))}
    refused(train(kind, form, change), r"item: i0 has 2 rows that differ \(2 ids have such\): keep one each")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_items_without_interactions(kind: str, form: str, train: Train) -> None:
    outcome = train(kind, form, {"items": more(lambda table: put("item", "new")(table[:1]))})
    accepted(outcome, {}, "1 items have no interaction; they stay in the catalogue")
    assert outcome.metrics["data"]["items"] == 13


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_interactions_of_items_that_are_not_there(kind: str, form: str, train: Train) -> None:
    lost = of("item", "i3")(tables()["interactions"]).height
    outcome = train(kind, form, {"items": lambda table: table.filter(pl.col("item") != "i3")})
    accepted(outcome, {"interactions whose item is not in its table": lost})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_user_with_one_interaction_where_the_last_is_left_out(kind: str, form: str, train: Train) -> None:
    outcome = train(kind, form, {"interactions": one_left("u1")}, split={"kind": "leave_last_out"})
    accepted(outcome, {}, "1 users have too few interactions to be tested: theirs train")
    assert outcome.metrics["data"]["test"] == 9


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_milliseconds_where_seconds_are_expected(kind: str, form: str, train: Train) -> None:
    change = {"interactions": scaled("at", 1000)}
    refused(train(kind, form, change), r"at: got 17\d+, which is no time .* set data\.timestamp_unit to ms")
    accepted(train(kind, form, change, data={"timestamp_unit": "ms"}), {})


TIMES = {
    "day": "%Y-%m-%d",
    "no zone": "%Y-%m-%d %H:%M:%S",
    "UTC": "%Y-%m-%dT%H:%M:%SZ",
    "zone": "%Y-%m-%dT%H:%M:%S+00:00",
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", TIMES)
def test_times_as_text_are_times(name: str, form: str, train: Train) -> None:
    written = {"interactions": lambda table: table.with_columns(pl.from_epoch("at").dt.strftime(TIMES[name]))}
    outcome = train("sequential", form, written)
    accepted(outcome, {})
    if name != "day":
        numbers = tables()["interactions"]
        assert outcome.metrics["data"]["train"] == numbers.height - 10


EMPTY: dict[str, tuple[str, dict[str, Change], dict[str, Any], str]] = {
    "too few rows": (
        "retrieval",
        {"interactions": lambda table: table[:2]},
        {},
        r"split: 2 interactions give 2 for training, .* 0 for test; change split\.kind, split\.test_fraction",
    ),
    "one row for each user": (
        "sequential",
        {"interactions": lambda table: table.unique("user")},
        {},
        "split: 10 interactions give 10 for training, .* 0 for test",
    ),
    "no validation": (
        "ranking",
        {"interactions": lambda table: table[:5]},
        {"split": {"validation_fraction": 0.1}},
        r"4 for training, 0 for validation and 1 for test; .* split\.validation_fraction",
    ),
    "a time after all": (
        "retrieval",
        {},
        {"split": {"kind": "time", "test_from": "2030-01-01"}},
        r"80 for training, 0 for validation and 0 for test; change split\.test_from",
    ),
    "a column of one part": (
        "ranking",
        {"interactions": put("part", "train")},
        {"split": {"kind": "column", "column": "part"}},
        r"split\.column: no interaction is left in the part test",
    ),
    "a part of another name": (
        "ranking",
        {"interactions": put("part", "training")},
        {"split": {"kind": "column", "column": "part"}},
        r"split\.column part: got training; allowed: train, validation, test",
    ),
    "no row": (
        "ranking",
        {"interactions": lambda table: table[:0]},
        {},
        "the interactions' table has no rows",
    ),
    "no item": (
        "ranking",
        {"items": lambda table: table[:0]},
        {},
        r"data\.items: the table has no rows",
    ),
    "no user": (
        "ranking",
        {"users": lambda table: table[:0]},
        {},
        r"data\.users: the table has no rows",
    ),
    "all below": (
        "retrieval",
        {},
        {"data": {"minimum_rating": 6.0}},
        "no interaction is left .* left out were 80 interactions whose rating is below 6",
    ),
    "no id in common": (
        "sequential",
        {"items": lambda table: table.with_columns(item="x" + pl.col("item"))},
        {},
        "80 interactions whose item is not in its table; item is i1 here, and xi0 in its table",
    ),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_part(name: str, form: str, train: Train) -> None:
    kind, change, sections, said = EMPTY[name]
    refused(train(kind, form, change, **sections), said)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_not_a_number(kind: str, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    rates = {"epochs": 3, "dense_learning_rate": 1e30, "embedding_learning_rate": 1e30}
    outcome = train(kind, training=rates)
    assert outcome.code == 1
    assert re.search(
        r"the loss became (nan|inf) in epoch 1/3, batch \d: lower the learning rates", outcome.lines[-1]
    )
    assert outcome.run.is_unfinished
    assert not outcome.run.model_path.exists()
    assert main(["evaluate", str(outcome.run.folder)]) == 2
    assert "holds no model.safetensors yet: train further" in capsys.readouterr().err


ONE: dict[str, tuple[str, dict[str, Change], str]] = {
    "item": (
        "retrieval",
        {"interactions": of("item", "i1"), "items": of("item", "i1")},
        "features: item has one value only, i1: there is nothing to learn from it",
    ),
    "item to rank": (
        "ranking",
        {"interactions": of("item", "i1", "i4"), "items": of("item", "i1", "i4")},
        "features: genre has one value only, genre 1: there is nothing",
    ),
    "user": (
        "ranking",
        {"interactions": of("user", "u1"), "users": of("user", "u1")},
        "features: user has one value only, u1: there is nothing",
    ),
    "category": ("retrieval", {"items": put("genre", "only")}, "features: genre has one value only, only"),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ONE)
def test_a_vocabulary_of_one(name: str, form: str, train: Train) -> None:
    kind, change, warned = ONE[name]
    accepted(train(kind, form, change), {}, warned)


def test_a_sequence_of_one_item(train: Train) -> None:
    twice = {
        "interactions": lambda table: pl.concat([of("item", "i1")(table)] * 2),
        "items": of("item", "i1"),
    }
    accepted(train("sequential", change=twice), {}, "features: item has one value only, i1")


def test_an_id_that_nothing_has_often_enough(train: Train) -> None:
    features = {"item": {"item": {"kind": "token", "min_count": 100}}}
    refused(
        train("retrieval", features=features),
        r"item has min_count 100, and no value .* more than \d times: lower",
    )


BYTES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("interactions.csv", b"", r"interactions\.csv: empty"),
    "empty parquet": ("items.parquet", b"", r"items\.parquet: empty"),
    "no parquet": (
        "interactions.parquet",
        b"user,item\na,b\n",
        r"interactions\.parquet: not a table \(parq",
    ),
    "cut parquet": ("users.parquet", b"PAR1" + b"\0" * 40, r"users\.parquet: not a table \(parquet: "),
    "semicolons": (
        "interactions.csv",
        b"user;item;rating;at;hour\nu1;i1;3;1700000000;4\n",
        r"interactions\.csv: one column, user;item;.* here it seems by ';': save it with commas",
    ),
    "UTF-16": (
        "items.csv",
        "item,price,genre\ni1,2,x\n".encode("utf-16"),
        r"items\.csv: .* save it as UTF-8",
    ),
    "Latin-1": (
        "items.csv",
        "item,price,genre\ni1,2,é\n".encode("latin-1"),
        r"items\.csv: .* not UTF-8: ",
    ),
    "Latin-1 far below": (
        "interactions.csv",
        b"user,item,rating,at,hour\n" + b"u1,i1,3,1700000000,4\n" * 100_000 + b"u1,\xe9,3,1700000000,4\n",
        "its text is not UTF-8: save it as UTF-8",
    ),
    "too many values": (
        "interactions.csv",
        b"user,item,rating,at,hour\nu1,i1,3,1700000000,4,5\n",
        "a row has more values than the header has columns: quote values that hold a separator",
    ),
    "two columns of a name": (
        "interactions.csv",
        b"user,item,rating,at,item\nu1,i1,3,1700000000,i2\n",
        r"interactions\.csv: the column item is there twice: rename one",
    ),
    "a text far below": (
        "interactions.csv",
        b"user,item,rating,at,hour\n" + b"u1,i1,3,1700000000,4\n" * 12_000 + b"u1,i1,good,1700000000,4\n",
        "the interactions can't be read .could not parse `good` as .* at column 'rating'",
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_table(name: str, train: Train) -> None:
    file, written, said = BYTES[name]
    form = file.rpartition(".")[2]
    refused(train("retrieval", form, files={file: written}), said)
    refused(train("ranking", form, files={file: written}), said)


def test_a_file_that_is_not_there(train: Train) -> None:
    refused(
        train("ranking", data={"items": "none.csv"}),
        r"none\.csv: there is no table; expected a file, a folder",
    )


CLICKS = {"kind": "ranking", "loss": "binary_crossentropy"}


@pytest.mark.parametrize("form", FORMATS)
def test_labels_of_one_value(form: str, train: Train) -> None:
    change = {"interactions": put("rating", 1)}
    refused(train("ranking", form, change, model=CLICKS), "every label is 1: there is nothing to learn")
    for loss in ("mean_squared_error", "listwise"):
        refused(train("ranking", form, change, model={"loss": loss}), "every label is 1")


@pytest.mark.parametrize("form", FORMATS)
def test_labels_that_are_no_clicks(form: str, train: Train) -> None:
    refused(
        train("ranking", form, model=CLICKS),
        r"labels of 0 and 1, and there is \d: set model\.positive_from",
    )


def test_lists_of_one(train: Train) -> None:
    change = {"interactions": lambda table: table.unique("user", keep="first", maintain_order=True)}
    change["interactions"] = lambda table: put("rating", 2.0, (0, 1, 2))(
        table.unique("user", maintain_order=True)
    )
    refused(
        train("ranking", change=change, model={"loss": "listwise"}), "no user has two examples: a list of one"
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_are_not_finite(value: float, form: str, train: Train) -> None:
    said = f"expected a finite number, or null where there is none, got {value}"
    for kind in ("retrieval", "ranking"):
        refused(train(kind, form, {"items": put("price", value, (3,))}), f"column price: {said}")
    refused(train("ranking", form, {"interactions": put("hour", value, (3,))}), f"column hour: {said}")


def test_times_that_are_needed_and_are_not_there(train: Train) -> None:
    none = {"timestamp": None}
    refused(
        train("sequential", data=none),
        r"split\.kind: leave_last_out goes by time: name its column, data\.time",
    )
    preceding = {"user": {"history": {"kind": "history", "order": "preceding"}}}
    refused(
        train("retrieval", data=none, features=preceding),
        "order preceding goes by time: name its column, data",
    )
    outcome = train("sequential", data=none, split={"kind": "random"})
    accepted(outcome, {}, r"there are no times \(data\.timestamp\), so history is in the order of the inter")


def test_a_name_in_both_tables(train: Train) -> None:
    change = {"users": put("price", 3.0)}
    accepted(train("ranking", change=change), {})


def test_a_feature_of_both_tables(train: Train) -> None:
    refused(
        train("ranking", change={"users": put("price", 3.0)}, features={"user": {"price": NUMBER}}),
        "features: price is a feature of user and of item, .* could not tell which: rename the column",
    )


def test_a_part_in_a_file_that_lacks_a_column(train: Train) -> None:
    table = tables()["interactions"]
    files = {"a.csv": table.write_csv().encode(), "b.csv": table.drop("hour").write_csv().encode()}
    refused(
        train("ranking", files=files, split={"kind": "files", "train": "a.csv", "test": "b.csv"}),
        r"split\.test: there is no column hour, which the training part has; it has user, item, rating, at",
    )


def test_a_training_on_one_pair(train: Train) -> None:
    change = {"interactions": lambda table: table[:2]}
    outcome = train("retrieval", change=change, split={"test_fraction": 0.5})
    accepted(outcome, {}, "10 items have no interaction")
