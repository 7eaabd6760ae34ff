"""Every kind of model from tables to a finished run and back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.tiny import CONFIG, ITEMS, tiny_config, tiny_tables
from torchtowers.data.errors import DataError
from torchtowers.data.tables import Tables
from torchtowers.export.artifact import export_artifact
from torchtowers.models.config import RunConfig, parse_config
from torchtowers.models.errors import ConfigError, RunError
from torchtowers.models.experiment import build_model, evaluate_run, open_run, prepare_run, train
from torchtowers.models.model_config import RankingConfig
from torchtowers.models.multi_task import MultiTask
from torchtowers.models.rated_clicks import ClickLine
from torchtowers.models.run import Run

DATA = {"rating": "rating", "timestamp": "timestamp", "columns": ["title"]}
EVALUATION = {"accuracy_at": [5], "ranking_at": [5]}
MODELS: dict[str, dict[str, Any]] = {
    "two_tower": {"kind": "two_tower", "embedding_dim": 8, "dim": 8},
    "sequential": {"kind": "sequential", "dim": 8, "hidden": 8},
    "self_attention": {"kind": "sequential", "encoder": "self_attention", "dim": 8},
    "multi_task": {"kind": "multi_task", "embedding_dim": 8, "dim": 8, "rating_hidden": [8]},
    "rating": {"kind": "ranking", "embedding_dim": 4, "hidden": [8]},
    "dlrm": {"kind": "ranking", "interaction": "dlrm", "embedding_dim": 4, "hidden": [8]},
    "click": {
        "kind": "ranking",
        "interaction": "wide_and_deep",
        "loss": "binary_crossentropy",
        "positive_from": 4,
        "embedding_dim": 4,
        "hidden": [8],
    },
    "pairwise": {"kind": "ranking", "loss": "pairwise", "embedding_dim": 4, "hidden": [8], "list_size": 4},
    "listwise": {"kind": "ranking", "loss": "listwise", "embedding_dim": 4, "hidden": [8], "list_size": 4},
}
TIMES = {"kind": "leave_last_out", "validation_fraction": 0.5}
RANDOM = {"kind": "random", "validation_fraction": 0.2}


def test_retrieval_takes_no_history_of_an_item(tmp_path: Path) -> None:
    for model in ("two_tower", "sequential", "multi_task"):
        content = config(model).model_dump()
        content["features"]["item"]["fans"] = {"kind": "history"}
        with pytest.raises(ConfigError, match=r"features\.item\.fans: only a ranking model"):
            train(parse_config(content), tmp_path / model, tables=tiny_tables())


def config(model: str, **sections: dict[str, Any]) -> RunConfig:
    split = TIMES if MODELS[model]["kind"] == "sequential" else RANDOM
    return parse_config(
        {
            "data": DATA,
            "split": split,
            "features": CONFIG["features"],
            "model": MODELS[model],
            "training": {"epochs": 2, "batch_size": 32, **sections.get("training", {})},
            "evaluation": EVALUATION,
        }
    )


@pytest.mark.parametrize("model", MODELS)
def test_every_kind_trains_is_measured_and_opened_again(model: str, tmp_path: Path) -> None:
    trained = train(config(model), tmp_path / "run", tables=tiny_tables())
    metrics = trained.run.metrics()
    is_ranking = MODELS[model]["kind"] == "ranking"
    for part in ("test", "validation"):
        assert 0 <= metrics[part]["ndcg@5"] <= 1
    assert ("rmse" in metrics["test"]) == (model in ("rating", "dlrm", "multi_task"))
    assert ("auc" in metrics["test"]) == (model == "click")
    assert ("recall@5" in metrics["test"]) == (not is_ranking)
    assert metrics["baselines"]
    again = open_run(tmp_path / "run", tables=tiny_tables())
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_clicks_of_ratings_are_learnt_with_the_ratings_and_clicks_alone_otherwise(tmp_path: Path) -> None:
    rated = train(config("click"), tmp_path / "rated", tables=tiny_tables())
    assert isinstance(rated.model.link, ClickLine)
    tables = tiny_tables()
    clicks = tables.interactions.with_columns((pl.col("rating") >= 4).cast(pl.Float64))
    settings = config("click").model_dump()
    settings["model"]["positive_from"] = None
    tables = Tables(clicks, tables.users, tables.items)
    given = train(parse_config(settings), tmp_path / "clicks", tables=tables)
    assert isinstance(given.model.link, torch.nn.Sigmoid)
    for trained in (rated, given):
        assert trained.run.metrics()["test"].keys() >= {"auc", "per_user_auc", "normalized_entropy"}


def test_sizes_that_are_left_open_follow_from_the_data(tmp_path: Path) -> None:
    content = config("rating").model_dump(exclude_unset=True)
    del content["model"]["embedding_dim"], content["training"]["batch_size"]
    trained = train(parse_config(content), tmp_path, tables=tiny_tables())
    found = trained.run.config()
    assert isinstance(found.model, RankingConfig)
    assert (found.model.embedding_dim, found.training.batch_size) == (8, 32)


@pytest.mark.parametrize("model", ["two_tower", "click"])
def test_refit_trains_on_everything_for_the_epochs_that_were_best(model: str, tmp_path: Path) -> None:
    training = {"epochs": 6, "refit": True, "early_stopping": {"patience": 2}}
    told: list[str] = []
    trained = train(config(model, training=training), tmp_path, tables=tiny_tables(), log=told.append)
    stopping = trained.config.training.early_stopping
    assert stopping is not None
    assert stopping.metric == ("validation/auc" if model == "click" else "validation/ndcg@5")
    selected = trained.run.selection.history()
    best = max(selected, key=lambda entry: entry[str(stopping.metric)])["epoch"]
    assert [entry["epoch"] for entry in trained.run.history()] == list(range(1, best + 1))
    assert f"training anew on training and validation part, {best} epochs" in told
    assert not len(trained.dataset.validation)
    metrics = trained.run.metrics()
    assert metrics["data"]["validation"] == 0
    assert metrics["validation"][stopping.metric.removeprefix("validation/")] == pytest.approx(
        selected[best - 1][stopping.metric]
    )
    assert len(open_run(tmp_path, tables=tiny_tables()).dataset.train) == len(trained.dataset.train)


class _Cut(Exception):
    """What a killed process leaves, without killing this one."""


@pytest.mark.parametrize("phase", ["choosing", "training anew"])
def test_a_run_cut_in_either_phase_goes_on_to_the_same_weights(phase: str, tmp_path: Path) -> None:
    settings = config("two_tower", training={"epochs": 4, "refit": True, "early_stopping": {"patience": 9}})
    whole = train(settings, tmp_path / "whole", tables=tiny_tables())
    seen: list[str] = []

    def cut(line: str) -> None:
        seen.append(line)
        if line.startswith("epoch 1/4") and any(told.startswith(phase) for told in seen):
            raise _Cut

    with pytest.raises(_Cut):
        train(settings, tmp_path / "cut", tables=tiny_tables(), log=cut)
    assert Run(tmp_path / "cut").is_unfinished
    resumed = train(settings, tmp_path / "cut", tables=tiny_tables(), resume=True)
    assert resumed.run.is_finished
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_tables_from_code_have_to_be_given_again(tmp_path: Path) -> None:
    train(config("two_tower"), tmp_path, tables=tiny_tables())
    with pytest.raises(DataError, match=r"nothing to read; name a data set .* or give tables from code"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("model", "changed", "said"),
    [
        ("multi_task", {"data": {"rating": None}}, "multi_task learns ratings: name their column"),
        ("rating", {"data": {"rating": None}}, "ranking learns labels: name their column"),
        ("click", {"model": {"positive_from": None}}, "learns labels of 0 and 1, and there is"),
        ("click", {"model": {"positive_from": 9}}, "every label is 0: there is nothing to learn"),
        ("sequential", {"features": {"user": {"user_id": {"kind": "token"}}}}, "sequential takes a history"),
    ],
)
def test_data_that_a_kind_cannot_learn_from_is_refused(
    model: str, changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    content = config(model).model_dump(mode="json")
    for section, values in changed.items():
        content[section].update(values)
    with pytest.raises(ConfigError, match=said):
        train(parse_config(content), tmp_path / "run", tables=tiny_tables())
    assert not (tmp_path / "run").exists()


def test_a_run_resumed_with_another_configuration_is_refused(tmp_path: Path) -> None:
    def cut(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise _Cut

    with pytest.raises(_Cut):
        train(config("two_tower"), tmp_path, tables=tiny_tables(), log=cut)
    with pytest.raises(RunError, match="was begun with another configuration"):
        train(config("two_tower", training={"epochs": 3}), tmp_path, tables=tiny_tables(), resume=True)


def test_resuming_with_other_features_is_refused(tmp_path: Path) -> None:
    def cut(line: str) -> None:
        if line.startswith("epoch 1/"):
            raise _Cut

    with pytest.raises(_Cut):
        train(config("two_tower"), tmp_path, tables=tiny_tables(), log=cut)
    content = config("two_tower").model_dump(mode="json")
    content["features"]["user"]["city"] = {"kind": "token"}
    with pytest.raises(RunError, match="was begun with another configuration"):
        train(parse_config(content), tmp_path, tables=tiny_tables(), resume=True)


@pytest.mark.parametrize("model", ["two_tower", "rating"])
def test_a_table_that_changed_after_training_changes_no_encoder(model: str, tmp_path: Path) -> None:
    tables = tiny_tables()
    content = config(model).model_dump(mode="json")
    content["features"]["item"]["year"] = {"kind": "number"}
    for name in ("interactions", "users", "items"):
        content["data"][name] = str(tmp_path / f"{name}.parquet")
        getattr(tables, name).write_parquet(tmp_path / f"{name}.parquet")
    trained = train(parse_config(content), tmp_path / "run")
    before, weights = (tmp_path / "run" / "encoders.json").read_bytes(), trained.model.state_dict()
    described = {name: encoder.to_json() for name, encoder in trained.dataset.encoders.items()}
    new = pl.DataFrame({"item_id": ["new"], "title": ["Unseen"], "year": [5], "genres": [["Unseen"]]})
    year = pl.when(pl.col("item_id") == "100").then(9_000).otherwise("year").alias("year")
    changed = pl.concat([new, tables.items.with_columns(year)], how="vertical_relaxed")
    changed.write_parquet(tmp_path / "items.parquet")
    metrics = evaluate_run(tmp_path / "run")
    assert metrics["data"]["items"] == tables.items.height
    assert metrics["dropped"] == {"rows of the item_id table that came after training": 1}
    again = open_run(tmp_path / "run")
    export_artifact(again, tmp_path / "artifact", ("torchscript",))
    assert (tmp_path / "run" / "encoders.json").read_bytes() == before
    assert {name: encoder.to_json() for name, encoder in again.dataset.encoders.items()} == described
    for name, weight in weights.items():
        assert torch.equal(weight, again.model.state_dict()[name]), name
    signature = json.loads((tmp_path / "artifact" / "signature.json").read_text(encoding="utf-8"))
    exported = {feature["name"]: feature["encoder"] for feature in signature["candidate"]["features"]}
    assert exported["year"] == described["year"]
    # The changed row is encoded by what was fitted without it, which takes it for ten deviations.
    old, now = (of.dataset.items.take(np.arange(ITEMS))["year"] for of in (trained, again))
    assert now[0].tolist() == [10, 0]
    assert (now[1:] == old[1:]).all()


def test_features_share_a_table_in_both_tasks_too() -> None:
    history = {"kind": "history", "share": "item_id"}
    config = tiny_config(
        model={"kind": "multi_task"}, features={"user": {"user_id": {"kind": "token"}, "history": history}}
    )
    config, dataset = prepare_run(config, tiny_tables())
    model = build_model(config, dataset)
    assert isinstance(model, MultiTask)
    queries, candidates = (
        [parameter for name, parameter in tower.named_parameters() if feature in name]
        for tower, feature in ((model.query_tower, "history"), (model.candidate_tower, "item_id"))
    )
    assert len(queries) == 1
    assert any(queries[0] is table for table in candidates)
