from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tiny import CONFIG, tiny_config, tiny_ranking_config
from torchtowers.models.config import load_config, parse_config
from torchtowers.models.errors import ConfigError
from torchtowers.models.model_config import TwoTowerConfig

SHIPPED = Path(__file__).parents[2] / "configs" / "movielens-retrieval.yaml"


def test_shipped_configuration_is_valid() -> None:
    assert load_config(SHIPPED).data.dataset == "movielens-100k"


def test_complete_yaml_gives_the_same_configuration(tmp_path: Path) -> None:
    config = tiny_config()
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("section", "key", "value", "said"),
    [
        ("training", "epoch", 3, ["training.epoch", "unknown key", "got 3", "epochs, batch_size"]),
        ("training", "epochs", "three", ["training.epochs", "got three", "a valid integer"]),
        ("training", "epochs", 0, ["training.epochs", "got 0", "greater than or equal to 1"]),
        ("training", "epochs", True, ["training.epochs", "got True", "integer"]),
        ("model", "dropout", 1.5, ["model.dropout", "got 1.5", "less than 1"]),
        ("model", "pooling", "max", ["model.pooling", "got max", "'mean' or 'sqrtn'"]),
        ("model", "query_hidden", "64", ["model.query_hidden", "got 64"]),
        ("model", "query_hidden", [16, -5], ["model.query_hidden.1", "got -5", "greater than or equal to 1"]),
        ("split", "seed", -1, ["split.seed", "got -1"]),
        ("training", "dense_learning_rate", float("nan"), ["training.dense_learning_rate", "finite"]),
        ("data", "dataset", "movielens-1b", ["data.dataset", "got movielens-1b", "movielens-100k"]),
        ("evaluation", "accuracy_at", [10, 0], ["evaluation", "every k has to be at least 1"]),
    ],
)
def test_errors_name_the_key_what_came_and_what_is_allowed(
    section: str, key: str, value: object, said: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_config(**{section: {key: value}})
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message, message


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (
            {"kind": "token", "length": 3},
            ["features.user.age.length", "unknown key", "got 3", "allowed here: kind"],
        ),
        (
            {"kind": "numbers"},
            ["features.user.age", "numbers", "'token', 'hashed_token', 'unified_token', 'number', 'buckets'"],
        ),
        ({"kind": "buckets", "boundaries": [3, 1]}, ["features.user.age", "boundaries have to ascend"]),
        ({"kind": "buckets", "boundaries": "18"}, ["features.user.age.boundaries", "got 18"]),
        ({"kind": "words", "min_count": 0}, ["features.user.age.min_count", "got 0"]),
        ({}, ["features.user.age", "kind"]),
        (17, ["features.user.age", "got 17"]),
    ],
)
def test_errors_of_a_feature_name_its_place(feature: object, said: list[str]) -> None:
    content = yaml.safe_load(yaml.safe_dump(CONFIG))
    content["features"]["user"]["age"] = feature
    with pytest.raises(ConfigError) as caught:
        parse_config(content)
    for part in said:
        assert part in str(caught.value), str(caught.value)


def test_a_missing_section_is_named() -> None:
    with pytest.raises(ConfigError, match="features: missing"):
        parse_config({"data": {"dataset": "movielens-100k"}})


def test_overrides_replace_values_and_are_validated() -> None:
    config = load_config(SHIPPED, ["training.epochs=2", "model.query_hidden=[8, 4]", "split.seed=7"])
    assert isinstance(config.model, TwoTowerConfig)
    assert (config.training.epochs, config.model.query_hidden, config.split.seed) == (2, (8, 4), 7)
    with pytest.raises(ConfigError, match=r"training\.epoch: unknown key"):
        load_config(SHIPPED, ["training.epoch=2"])
    with pytest.raises(ConfigError, match=r"expected dotted\.key=value"):
        load_config(SHIPPED, ["training.epochs"])
    with pytest.raises(ConfigError, match="epochs is not a section"):
        load_config(SHIPPED, ["training.epochs=1", "training.epochs.more=2"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "expected a mapping"),
        ("a: [", "is not YAML"),
        ("\x00", "is not YAML"),
        ("", "expected a mapping"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "config.yaml")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "config.yaml")


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    config = load_config(str(SHIPPED), ["training.dense_learning_rate=1e-3", "model.temperature=2E-1"])
    assert isinstance(config.model, TwoTowerConfig)
    assert (config.training.dense_learning_rate, config.model.temperature) == (0.001, 0.2)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: {dim: 3}\ndata: {dataset: x}\nmodel: {dim: 4}\n")
    with pytest.raises(ConfigError, match=r"the key 'model' stands twice.*line 3"):
        load_config(tmp_path / "config.yaml")


def test_a_mapping_that_contains_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("data: &a {dataset: *a}\n")
    with pytest.raises(ConfigError, match="contains itself"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("name", ["a.b", "a/b", "", "k", "exclude"])
def test_names_that_a_feature_cannot_have(name: str) -> None:
    content = yaml.safe_load(yaml.safe_dump(CONFIG))
    content["features"]["user"][name] = {"kind": "token"}
    with pytest.raises(ConfigError, match="a feature can't be called"):
        parse_config(content)


def ranking(**changed: dict[str, object]) -> dict[str, Any]:
    content = tiny_ranking_config().model_dump(mode="json")
    for section, values in changed.items():
        content[section] = {**content[section], **values}
    return content


TOKEN = {"kind": "token"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"features": {"user": {"title": TOKEN}, "item": {"title": TOKEN}}},
            "^config: features: title is a feature of user and of item, and a request could not tell which",
        ),
        (
            {"features": {"item": {"age": TOKEN}, "context": {"age": TOKEN}, "user": {}}},
            "features: age is a feature of item and of context",
        ),
        (
            {"features": {"user": {"item_id": TOKEN}, "item": {}}},
            "user: item_id holds the items' ids",
        ),
        (
            {"features": {"user": {}, "item": {"user_id": TOKEN}}},
            "item: user_id holds the users' ids",
        ),
        (
            {"features": {"user": {}, "context": {"user_id": TOKEN}}},
            "context: user_id holds the users",
        ),
        (
            {"features": {"item": {}, "context": {"item_id": TOKEN}}},
            "context: item_id holds the items",
        ),
        ({"features": {"context": {"rating": TOKEN}}}, "^config: features.context: rating holds the label"),
        (
            {"data": {"dataset": None, "interactions": "x", "user": "id", "item": "id"}},
            "data: user, item, rating and timestamp have a column each, and id is named twice",
        ),
        (
            {"data": {"dataset": None, "interactions": "x", "rating": "at", "timestamp": "at"}},
            "at is named twice",
        ),
    ],
)
def test_names_that_could_mean_two_columns_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_config(ranking(**changed))


def test_features_of_interactions_are_for_ranking_models() -> None:
    with pytest.raises(ConfigError, match=r"features\.context: a model of kind two_tower takes no"):
        parse_config({**ranking(), "model": {"kind": "two_tower"}})
