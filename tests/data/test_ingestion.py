"""Bad tables: an error that says what to do, or a rule whose count is told."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchtowers.data.config import DataConfig, SplitConfig
from torchtowers.data.errors import DataError
from torchtowers.data.ingestion import Ingested, ingest
from torchtowers.data.readers import scan_table
from torchtowers.data.tables import PART, Tables
from torchtowers.handlers.encoders import Vocabulary

ROWS = {"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"], "rating": [5.0, 3.0, 1.0], "at": [10, 20, 30]}


def ingested(rows: Mapping[str, object] | None = None, **data: object) -> Ingested:
    tables = Tables(pl.DataFrame({**ROWS, **(rows or {})}))
    config = DataConfig.model_validate({"rating": "rating", "timestamp": "at", **data})
    return ingest(tables, config, SplitConfig(), {})


def times_of(found: Ingested) -> list[int]:
    assert found.pairs.times is not None
    times: list[int] = found.pairs.times.tolist()
    return times


def test_without_tables_of_their_own_users_and_items_are_those_of_the_interactions() -> None:
    assert ingested().users["user_id"].to_list() == ["a", "b"]
    assert ingested().items["item_id"].to_list() == ["x", "y"]
    assert ingested().dropped == {}
    assert ingested().warnings == ()


def test_a_missing_column_names_those_that_there_are_the_most_alike_first() -> None:
    with pytest.raises(DataError, match="no column ratings; the interactions' table has rating, user_id"):
        ingested(rating="ratings")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            {"user_id": [1.0, 1.0, 2.0]},
            "user_id: ids are text or integers, the column holds Float64: cast it",
        ),
        ({"rating": ["5", "3", "1"]}, "rating: a label has to be a number, the column holds String:"),
        ({"at": ["10", "soon", "30"]}, "at: got soon, which is no time: expected 2024-03-01 or"),
        ({"at": [True, True, False]}, "at: times are numbers since 1970, dates, datetimes or ISO 8601 texts"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(rows: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ingested(rows)


def test_integers_are_ids_as_text_is() -> None:
    assert ingested({"user_id": [7, 7, 8]}).users["user_id"].to_list() == ["7", "8"]


def test_rows_without_an_id_a_label_or_a_time_are_left_out_and_counted() -> None:
    rows = {
        "user_id": ["a", None, "", "b", "b", "b"],
        "item_id": ["x", "x", "x", None, "y", "z"],
        "rating": [1.0, 2.0, 3.0, 4.0, float("nan"), 5.0],
        "at": [1, 2, 3, 4, 5, None],
    }
    found = ingested(rows)
    assert len(found.pairs) == 1
    assert found.dropped == {
        "interactions without user_id": 2,
        "interactions without item_id": 1,
        "interactions without rating": 1,
        "interactions without at": 1,
    }


def test_nothing_left_says_what_was_left_out() -> None:
    with pytest.raises(
        DataError, match="no interaction is left to learn from; left out were 3 interactions whose"
    ):
        ingested(minimum_rating=9.0)


def test_duplicates_are_kept_with_a_warning_or_left_out_and_counted() -> None:
    rows = {"user_id": ["a", "a", "a"], "item_id": ["x", "x", "y"], "at": [20, 10, 5]}
    kept = ingested(rows)
    assert len(kept.pairs) == 3
    assert kept.warnings == (
        "1 interactions repeat a user and an item; all are kept (data.duplicates: keep)",
    )
    for which, rating in (("first", 3.0), ("last", 5.0)):
        found = ingested(rows, duplicates=which)
        assert found.pairs.labels is not None
        assert list(found.pairs.labels) == sorted([rating, 1.0], key=[5.0, 3.0, 1.0].index)
        assert found.dropped == {f"interactions that repeat a user and an item, the {which} one kept": 1}


def items(**columns: list[object]) -> Ingested:
    tables = Tables(pl.DataFrame(ROWS), items=pl.DataFrame(columns))
    return ingest(tables, DataConfig(rating="rating", timestamp="at"), SplitConfig(), {})


def test_rows_that_repeat_an_entity_are_left_out_and_counted() -> None:
    found = items(item_id=["x", "y", "x"], year=[1, 2, 1])
    assert found.items["item_id"].to_list() == ["x", "y"]
    assert found.dropped == {"rows that repeat another of the item_id table": 1}


def test_rows_that_say_different_things_of_an_entity_are_refused() -> None:
    with pytest.raises(DataError, match="item_id: x has 2 rows that differ"):
        items(item_id=["x", "y", "x"], year=[1, 2, 3])


def test_items_without_interactions_stay_and_are_told() -> None:
    found = items(item_id=["x", "y", "new"])
    assert found.items.height == 3
    assert found.warnings == ("1 items have no interaction; they stay in the catalogue",)


def test_interactions_of_unknown_items_are_left_out_and_counted() -> None:
    found = items(item_id=["x"])
    assert len(found.pairs) == 2
    assert found.dropped == {"interactions whose item_id is not in its table": 1}


def test_milliseconds_where_seconds_are_expected_say_which_unit_fits() -> None:
    start = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp())
    for unit, scale in (("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)):
        rows = {"at": [start * scale] * 3}
        with pytest.raises(DataError, match=f"no time from 1970 .* data.timestamp_unit to {unit}"):
            ingested(rows)
        assert times_of(ingested(rows, timestamp_unit=unit)) == [start] * 3


def test_times_before_1970_are_refused() -> None:
    with pytest.raises(DataError, match="at: got -1, which is no time from 1970 to 2100"):
        ingested({"at": [-1, 0, 1]})


def test_dates_need_no_unit() -> None:
    days = [date(1970, 1, 2), date(1970, 1, 3), date(1970, 1, 4)]
    assert times_of(ingested({"at": days})) == [86_400, 172_800, 259_200]


@pytest.mark.parametrize("split", ["column", "files"])
def test_parts_that_the_data_says_stay_beside_the_interactions(split: str) -> None:
    name = PART if split == "files" else "part"
    table = pl.DataFrame({**ROWS, name: ["train", "test", "validation"], "user_id": [None, "a", "b"]})
    config = SplitConfig.model_validate(
        {"kind": "column", "column": "part"}
        if split == "column"
        else {"kind": split, "train": "a", "test": "b"}
    )
    found = ingest(Tables(table), DataConfig(), config, {})
    assert found.parts is not None
    assert found.parts.tolist() == [2, 1]
    assert found.rows.tolist() == [1, 2]


def test_a_part_that_there_is_not() -> None:
    table = pl.DataFrame({**ROWS, "part": ["train", "dev", "test"]})
    with pytest.raises(DataError, match=r"split\.column part: got dev; allowed: train, validation, test"):
        ingest(Tables(table), DataConfig(), SplitConfig(kind="column", column="part"), {})


def test_a_table_is_the_same_in_any_number_of_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    rows = {
        "user_id": [f"u{user}" for user in generator.integers(0, 9, 60)],
        "item_id": generator.integers(0, 9, 60),
        "rating": [None, *generator.random(59)],
        "at": generator.integers(0, 99, 60),
    }
    whole = ingested(rows, duplicates="last")
    monkeypatch.setattr("torchtowers.data.ingestion.ROWS_AT_ONCE", 7)
    monkeypatch.setattr("torchtowers.data.mapped.ROWS_AT_ONCE", 7)
    monkeypatch.setattr("torchtowers.data.grouping.ROWS_AT_ONCE", 7)
    parts = ingested(rows, duplicates="last")
    assert parts.users.equals(whole.users)
    assert parts.items.equals(whole.items)
    assert parts.dropped == whole.dropped
    assert sum(whole.dropped.values()) + len(whole.pairs) == 60
    for name in ("users", "items", "labels", "times"):
        assert (getattr(parts.pairs, name) == getattr(whole.pairs, name)).all(), name
    assert (parts.rows == whole.rows).all()


def test_what_an_earlier_run_does_not_know_is_left_out_and_counted() -> None:
    known = {"item_id": Vocabulary(["y", "x"]), "user_id": Vocabulary(["b"])}
    items = pl.DataFrame({"item_id": ["new", "x", "y"]})
    found = ingest(Tables(pl.DataFrame(ROWS), items=items), DataConfig(), SplitConfig(), known)
    assert found.items["item_id"].to_list() == ["y", "x"]
    assert found.dropped == {
        "rows of the item_id table that came after training": 1,
        "interactions whose user_id the run does not know": 2,
    }


def test_ids_of_an_earlier_run_keep_their_rows() -> None:
    known = {"item_id": Vocabulary(["y", "x"]), "user_id": Vocabulary(["b", "a"])}
    items = pl.DataFrame({"item_id": ["x", "y"], "year": [1, 2]})
    found = ingest(Tables(pl.DataFrame(ROWS), items=items), DataConfig(), SplitConfig(), known)
    assert found.items["year"].to_list() == [2, 1]
    assert found.pairs.users.tolist() == [1, 1, 0]
    assert found.pairs.items.tolist() == [1, 0, 1]
    assert found.dropped == {}
    with pytest.raises(DataError, match=r"item_id: 1 ids .* no longer in their table, such as y"):
        ingest(Tables(pl.DataFrame(ROWS), items=items[:1]), DataConfig(), SplitConfig(), known)


def test_a_file_whose_later_rows_are_of_another_type_says_so(tmp_path: Path) -> None:
    lines = ["user_id,item_id,rating", *["a,x,1"] * 20_000, "a,x,good"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = scan_table(tmp_path / "t.csv", ("user_id", "item_id"))
    with pytest.raises(DataError, match=r"can't be read .*good"):
        ingest(Tables(table), DataConfig(rating="rating"), SplitConfig(), {})


def test_a_file_with_a_header_only(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user_id,item_id\n")
    table = scan_table(tmp_path / "t.csv", ("user_id", "item_id"))
    with pytest.raises(DataError, match="the interactions' table has no rows"):
        ingest(Tables(table), DataConfig(), SplitConfig(), {})
