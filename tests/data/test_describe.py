"""What a description says of files, and that training takes the configuration that it writes."""

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from torchtowers.data.describe import Description, describe
from torchtowers.data.errors import DataError
from torchtowers.data.starting_config import starting_config, write_starting_config
from torchtowers.data.synthetic import make_shop, write_shop
from torchtowers.models.config import RunConfig, load_config, parse_config
from torchtowers.models.experiment import train

START = 1_700_000_000
PAIRS: dict[str, list[Any]] = {
    "user_id": ["u1", "u1", "u1", "u2", "u3", None],
    "item_id": ["a", "b", "b", "a", "c", "a"],
    "rating": [1.0, 2.0, 5.0, 4.0, 3.0, 3.0],
    "timestamp": [START, START + 1, START + 2, START + 3, START + 4, START + 5],
}


def described(folder: Path, pairs: dict[str, Any], **entities: dict[str, Any]) -> Description:
    paths = {}
    for name, content in {"pairs": pairs, **entities}.items():
        paths[name] = folder / f"{name}.parquet"
        pl.DataFrame(content).write_parquet(paths[name])
    return describe(paths["pairs"], paths.get("users"), paths.get("items"))


def told(found: Description, table: str = "interactions", column: str | None = None) -> str:
    return "; ".join(
        f"{finding.count} {finding.text}"
        for finding in found.findings
        if (finding.table, finding.column) == (table, column)
    )


def config(found: Description, folder: Path) -> RunConfig:
    write_starting_config(found, folder / "my.yaml")
    return load_config(folder / "my.yaml")


def test_columns_and_spread_by_hand(tmp_path: Path) -> None:
    found = described(tmp_path, PAIRS)
    assert found.interactions.roles == {
        "timestamp": "time",
        "user_id": "user id",
        "item_id": "item id",
        "rating": "label",
    }
    rating = found.interactions.column("rating")
    assert (rating.rows, rating.nulls, rating.distinct) == (6, 0, 5)
    assert (rating.low, rating.high, rating.mean) == (1.0, 5.0, 3.0)
    assert found.interactions.column("user_id").nulls == 1
    assert found.interactions.column("user_id").examples == ("u1", "u2", "u3")
    assert found.per_user is not None
    assert found.per_item is not None
    assert (found.per_user.count, found.per_user.single, found.per_user.quantiles["most"]) == (3, 2, 3)
    assert (found.per_item.count, found.per_item.single, found.per_item.quantiles["most"]) == (3, 1, 3)
    assert found.span == ("2023-11-14 22:13:20", "2023-11-14 22:13:25")
    json.dumps(found.to_dict())


def test_density_counts_each_pair_with_known_ids_once(tmp_path: Path) -> None:
    found = described(tmp_path, PAIRS)
    assert found.repeated_pairs == 1
    assert found.density == pytest.approx(4 / 9)


def test_repeated_rows_and_pairs(tmp_path: Path) -> None:
    found = described(tmp_path, {name: [*values, values[0]] for name, values in PAIRS.items()})
    assert "1 repeat another row in every column" in told(found)
    assert "2 repeat a user and an item" in told(found)
    assert config(found, tmp_path).data.duplicates == "last"


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("user_id", ["u1", "", "u2", "u3", "u4", None], "1 have no id: they are left out; 1 are empty"),
        ("item_id", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "6 ids are Float64: cast them to integers or text"),
        ("rating", [1.0, float("nan"), float("inf"), 2.0, 3.0, None], "2 are NaN or infinite"),
        ("rating", [4.0] * 6, "6 hold one and the same value"),
        ("count", [1.0, 2.5, -3.0, 4.0, 5.0, 6.0], "have negative values among them, the smallest is -3.0"),
        (
            "age",
            [10.5, 20.0, 400.0, 30.0, 31.0, 32.0],
            "have ages above 130 among them, the largest is 400.0",
        ),
        ("note", [None] * 6, "6 every value is null"),
        ("timestamp", [(START + at) * 1000 for at in range(6)], "6 count ms since 1970, not seconds"),
        ("timestamp", [START, START, START, START, START, -5], "go back to before 1970, the smallest is -5"),
        ("timestamp", [START, START, START, START, START, 4_000_000_000], "go on into the future"),
        ("timestamp", [START, START, START, START, START, START * 1000], "that their unit may not be one"),
        ("timestamp", [datetime(1960, 1, 1)] * 5 + [datetime(2020, 1, 1)], "go back to before 1970"),
    ],
)
def test_values_that_can_not_be_right(column: str, values: list[Any], said: str, tmp_path: Path) -> None:
    assert said in told(described(tmp_path, {**PAIRS, column: values}), column=column)


def test_a_table_without_faults_has_no_findings(tmp_path: Path) -> None:
    clean = {name: values[:2] + values[3:5] for name, values in PAIRS.items()}
    assert described(tmp_path, clean).findings == ()


def test_entities_that_repeat_and_ids_that_do_not_match(tmp_path: Path) -> None:
    found = described(
        tmp_path,
        PAIRS,
        users={"user_id": ["u1", "u1", "u2", "u9", "u8"], "age": [1, 1, 2, 3, 4]},
        items={"item_id": ["a", "a", "b", "c"], "year": [1999, 2000, 2000, 2001]},
    )
    users = told(found, "users", "user_id")
    assert "1 repeat another row in every column" in users
    assert "2 have no interaction" in users
    assert "1 name an id that the users do not have" in told(found, column="user_id")
    assert "1 ids have several rows that differ" in told(found, "items", "item_id")


def test_a_table_without_the_key_is_told_of_and_left_out(tmp_path: Path) -> None:
    found = described(tmp_path, PAIRS, users={"person": ["u1", "u2"], "age": [1, 2]})
    assert "has no column user_id" in told(found, "users")
    assert config(found, tmp_path).data.users is None


@pytest.mark.parametrize(
    ("user", "item"),
    [
        ("userId", "movieId"),
        ("UserID", "ItemID"),
        ("customer_id", "article_id"),
        ("uid", "sku"),
        ("reviewerID", "asin"),
    ],
)
def test_ids_are_known_by_their_names(user: str, item: str, tmp_path: Path) -> None:
    pairs = {user: PAIRS["user_id"], item: PAIRS["item_id"]}
    found = config(described(tmp_path, pairs), tmp_path)
    assert (found.data.user, found.data.item, found.data.rating) == (user, item, None)


def test_leading_zeros_of_ids_count(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user_id,item_id\n007,1\n7,1\n")
    found = describe(tmp_path / "t.csv")
    assert found.per_user is not None
    assert found.per_user.count == 2


def test_shards_are_one_table(tmp_path: Path) -> None:
    for part in range(2):
        text = pl.DataFrame(PAIRS)[part * 3 : part * 3 + 3].write_csv(separator="\t")
        (tmp_path / f"{part}.tsv.gz").write_bytes(gzip.compress(text.encode()))
    assert describe(tmp_path).interactions.rows == 6


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"user_id,item_id\n", "no rows"),
        ("t.parquet", b"no parquet", "not a table"),
        ("t.xlsx", b"rows", "not a table by its name"),
        ("t.csv", b"user_id,rating\n" + b"a,1\n" * 20_000 + b"a,good\n", "can't be read"),
    ],
)
def test_what_is_no_table_is_refused(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        describe(tmp_path / name)


def test_without_ids_columns_are_shown_and_no_configuration_is_written(tmp_path: Path) -> None:
    found = described(tmp_path, {"title": ["a", "b"], "price": [1.0, 2.0]})
    assert (found.per_user, found.density) == (None, None)
    with pytest.raises(DataError, match="looks like the ids of the users and items; there is title, price"):
        write_starting_config(found, tmp_path / "my.yaml")


def test_a_configuration_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    found = described(tmp_path, PAIRS)
    (tmp_path / "my.yaml").write_text("mine")
    with pytest.raises(DataError, match="is there already"):
        write_starting_config(found, tmp_path / "my.yaml")
    assert (tmp_path / "my.yaml").read_text() == "mine"


def test_milliseconds_are_told_to_training(tmp_path: Path) -> None:
    pairs = {**PAIRS, "timestamp": [at * 1000 for at in PAIRS["timestamp"]]}
    assert config(described(tmp_path, pairs), tmp_path).data.timestamp_unit == "ms"


def test_times_that_are_none_are_not_used(tmp_path: Path) -> None:
    pairs = {**PAIRS, "timestamp": [-5, *PAIRS["timestamp"][1:]]}
    found = config(described(tmp_path, pairs), tmp_path)
    assert (found.data.timestamp, found.split.kind) == (None, "random")


def test_clicks_of_0_are_no_positives(tmp_path: Path) -> None:
    pairs = {"user_id": ["a", "b"], "item_id": ["x", "y"], "clicked": [0, 1]}
    found = config(described(tmp_path, pairs), tmp_path)
    assert (found.data.rating, found.data.minimum_rating) == ("clicked", 1)


@pytest.mark.parametrize(
    ("times", "each", "kind"), [(True, 6, "leave_last_out"), (True, 2, "time"), (False, 9, "per_user")]
)
def test_the_split_follows_from_times_and_activity(times: bool, each: int, kind: str, tmp_path: Path) -> None:
    rows = [(user, item) for user in range(5) for item in range(each)]
    pairs: dict[str, Any] = {"user_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    if times:
        pairs["timestamp"] = [START + at for at in range(len(rows))]
    assert config(described(tmp_path, pairs), tmp_path).split.kind == kind


def test_columns_that_are_no_features_are_left_out_with_a_reason(tmp_path: Path) -> None:
    found = described(
        tmp_path,
        PAIRS,
        users={"user_id": ["u1", "u2", "u3"], "year": [1, 2, 4], "k": [1, 2, 3]},
        items={
            "item_id": ["a", "b", "c"],
            "year": [1.5, 2.0, 3.0],
            "only": ["x"] * 3,
            "odd": [1.0, float("nan"), 2.0],
        },
    )
    text = starting_config(found, tmp_path)
    assert "# year: another feature has this name" in text
    assert "# only: has one value only" in text
    assert "# odd: has values that are NaN or infinite" in text
    assert "# k: a feature can't have this name" in text
    features = config(found, tmp_path).features
    assert (list(features.user), list(features.item)) == (["history", "year"], ["item_id"])


def test_a_shop_of_every_kind_of_column_is_trained_as_described(tmp_path: Path) -> None:
    write_shop(tmp_path, make_shop(3_000, users=120, items=110))
    found = describe(tmp_path / "interactions.csv", tmp_path / "users.csv", tmp_path / "items.parquet")
    assert not [finding for finding in found.findings if finding.text != "have no interaction"]
    whole = config(found, tmp_path)
    kinds = {name: feature.kind for name, feature in {**whole.features.user, **whole.features.item}.items()}
    assert kinds == {
        "history": "history",
        "age": "number",
        "country": "token",
        "city": "token",
        "member": "boolean",
        "signed_up": "timestamp",
        "item_id": "token",
        "title": "words",
        "category": "token",
        "brand": "token",
        "price": "number",
        "weight": "number",
        "released": "timestamp",
        "tags": "token_list",
        "materials": "token_list",
        "picture": "vector",
    }
    text = (tmp_path / "my.yaml").read_text()
    content = yaml.safe_load(text.replace("  # context:", "  context:").replace("  #   ", "    "))
    ranking = parse_config({**content, "model": {"kind": "ranking"}})
    assert list(ranking.features.context) == ["device"]
    short = load_config(tmp_path / "my.yaml", ["training.epochs=1", "model.dim=8", "training.threads=1"])
    trained = train(short, tmp_path / "run")
    assert trained.run.metrics()["test"]["recall@10"] > 0


ODD: dict[str, list[Any]] = {
    "who": ["01", "01", "02", "02"],
    "what": ["a", "b", "b", "a"],
    "points": [1, 2, 3, 4],
    "moment": ["2024-03-01", "2024-03-01T12:30:00Z", "2024-03-02 01:00:00", "2024-03-03"],
}


def test_roles_that_are_named_are_not_guessed(tmp_path: Path) -> None:
    pl.DataFrame(ODD).write_csv(tmp_path / "odd.csv")
    guessed = describe(tmp_path / "odd.csv")
    with pytest.raises(DataError, match=r"no column looks like .* name them, with --user-id and --item-id"):
        starting_config(guessed, tmp_path)
    found = describe(
        tmp_path / "odd.csv", named={"user id": "who", "item id": "what", "label": "points", "time": "moment"}
    )
    roles = dict(found.interactions.roles)
    assert roles == {"who": "user id", "what": "item id", "points": "label", "moment": "time"}
    assert found.interactions.column("who").sample[0] == "01"
    data = config(found, tmp_path).data
    assert (data.user, data.item, data.rating, data.timestamp) == ("who", "what", "points", "moment")


def test_a_name_given_for_a_role_wins_over_what_looks_like_it(tmp_path: Path) -> None:
    pl.DataFrame({**PAIRS, "who": ["x"] * 6}).write_parquet(tmp_path / "t.parquet")
    found = describe(tmp_path / "t.parquet", named={"user id": "who"}).interactions
    assert (found.named("user id"), found.named("item id")) == ("who", "item_id")
    swapped = describe(tmp_path / "t.parquet", named={"item id": "user_id"}).interactions
    assert (swapped.named("item id"), swapped.named("user id")) == ("user_id", None)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"user id": "whom"}, "there is no column whom for the user id; there is who, what, points, moment"),
        ({"user id": "who", "item id": "who"}, "the column who is named twice"),
        ({"label": "what"}, "the column what can't be the label, it holds String"),
        ({"time": "what"}, "what: got a, which is no time"),
        ({"time": "points"}, None),
    ],
)
def test_a_name_that_can_not_be_is_refused(named: Any, said: str | None, tmp_path: Path) -> None:
    pl.DataFrame(ODD).write_csv(tmp_path / "odd.csv")
    if said is None:
        assert describe(tmp_path / "odd.csv", named=named).interactions.named("time") == "points"
        return
    with pytest.raises(DataError, match=said):
        describe(tmp_path / "odd.csv", named=named)


def test_times_as_text_are_times(tmp_path: Path) -> None:
    texts = [f"2024-03-0{day}T12:00:00Z" for day in range(1, 7)]
    pl.DataFrame({**PAIRS, "timestamp": texts}).write_csv(tmp_path / "t.csv")
    found = describe(tmp_path / "t.csv")
    assert found.interactions.named("time") == "timestamp"
    assert told(found, column="timestamp") == ""
    assert config(found, tmp_path).data.timestamp == "timestamp"
