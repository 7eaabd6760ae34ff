"""Models over every kind of feature go the whole way, from tables to answers that equal the eager model's."""

from pathlib import Path

import numpy as np
import pytest

from tests.every_kind import every_kind_config, every_kind_tables, write_csv
from tests.handlers.served import tower_search
from torchtowers.data.readers import read_table
from torchtowers.data.tables import Tables
from torchtowers.export.artifact import export_artifact
from torchtowers.export.comparison import TOLERANCE
from torchtowers.export.new_index import export_index
from torchtowers.handlers.errors import FieldError
from torchtowers.handlers.recommender import Recommender
from torchtowers.models.experiment import Trained, open_run, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("every_kind")


@pytest.fixture(scope="module")
def every(folder: Path) -> Trained:
    return train(every_kind_config(), folder / "run", tables=every_kind_tables())


@pytest.fixture(scope="module")
def recommender(every: Trained, folder: Path) -> Recommender:
    # Verification compares files and answers with the eager model.
    comparisons = export_artifact(every, folder / "artifact")
    assert max(comparison.difference for comparison in comparisons) <= TOLERANCE
    return Recommender.load(folder / "artifact", runtime="onnx")


def test_both_runtimes_answer_alike(recommender: Recommender, folder: Path) -> None:
    other = Recommender.load(folder / "artifact", runtime="torchscript")
    body = {"instances": [{"user_id": user, "k": 5} for user in ("u3", "u8", "nobody")]}
    for one, two in zip(
        recommender.recommend(body)["predictions"], other.recommend(body)["predictions"], strict=True
    ):
        np.testing.assert_allclose(one["scores"], two["scores"], atol=TOLERANCE)


def test_values_are_sent_in_the_types_that_json_has(recommender: Recommender) -> None:
    body = {
        "user_id": "u3",
        "city": None,
        "income": 12.5,
        "premium": True,
        "joined": "2020-03-01T10:00:00Z",
        "tastes": {"rock": -2, "Drama": 0.5},
        "k": 3,
    }
    sent = recommender.recommend(body)
    assert len(sent["items"]) == 3
    assert sent["scores"] != recommender.recommend({"user_id": "u3", "k": 3})["scores"]
    pairs = recommender.recommend({**body, "tastes": [["rock", -2], ["Drama", 0.5]]})
    assert pairs == sent
    with pytest.raises(FieldError, match=r"^joined: expected s since 1970"):
        recommender.recommend({**body, "joined": "soon"})


def test_a_history_shares_the_items_table(every: Trained, folder: Path) -> None:
    reopened = open_run(folder / "run", tables=every_kind_tables())
    for model in (every.model, reopened.model):
        history = model.query_tower.tower.tables["feature_history"].table  # type: ignore[union-attr,index]
        item = model.candidate_tower.tower.tables["feature_item_id"].table  # type: ignore[union-attr,index]
        assert history.weight is item.weight


def test_csv_gives_the_same_columns(every: Trained, folder: Path) -> None:
    tables = every_kind_tables()
    write_csv(tables, folder)
    paths = {name: folder / f"{name}.csv" for name in ("interactions", "users", "items")}
    read = {name: read_table(path, ("user_id", "item_id")) for name, path in paths.items()}
    config = every_kind_config()
    from torchtowers.data.dataset import prepare

    again = prepare(Tables(**read), config.data, config.split, config.features)
    for mine, theirs in ((every.dataset.users, again.users), (every.dataset.items, again.items)):
        rows = np.arange(len(mine))
        for name, values in mine.take(rows).items():
            np.testing.assert_allclose(theirs.take(rows)[name], values, rtol=1e-6, err_msg=name)


def test_users_without_an_id_feature_are_looked_up_by_it(folder: Path) -> None:
    config = every_kind_config(
        features={
            "user": {"history": {"kind": "history"}},
            "item": {"item_id": {"kind": "token", "min_count": 3}},
        },
        training={"epochs": 1},
    )
    trained = train(config, folder / "no_id", tables=every_kind_tables())
    export_artifact(trained, folder / "no_id_artifact", ["onnx"])
    recommender = Recommender.load(folder / "no_id_artifact")
    known = recommender.recommend({"user_id": "u3", "exclude_history": True})
    assert known["scores"] != recommender.recommend({"user_id": "nobody"})["scores"]
    assert recommender.recommend({"user_id": "nobody"}) == recommender.recommend({"history": []})


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_new_index_encodes_items_of_every_kind_as_training_did(
    recommender: Recommender, folder: Path, tmp_path: Path, kind: str
) -> None:
    tables = every_kind_tables()
    tables.items.write_parquet(tmp_path / "items.parquet")
    write_csv(tables, tmp_path)
    change = export_index(folder / "artifact", tmp_path / f"items.{kind}", tmp_path / "new")
    assert (change.items, change.new, change.gone, change.unknown) == (len(tables.items), 0, 0, 0)
    new, old = (tower_search(part).index.vectors.values for part in (tmp_path / "new", folder / "artifact"))
    np.testing.assert_allclose(new, old, atol=TOLERANCE)
    # In a CSV file a list is text, which a column gives as it is.
    assert change.unchanged == (len(tables.items) if kind == "parquet" else 0)
