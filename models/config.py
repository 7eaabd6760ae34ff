"""A run's whole configuration: one YAML file, validated before anything runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError, model_validator

from torchtowers.data.config import DataConfig, SplitConfig
from torchtowers.data.errors import shorten
from torchtowers.data.feature_config import FeaturesConfig
from torchtowers.data.section import Section
from torchtowers.models.config_errors import explain
from torchtowers.models.errors import ConfigError
from torchtowers.models.model_config import ModelConfig, RankingConfig, TwoTowerConfig
from torchtowers.models.training_config import TrainingConfig
from torchtowers.models.tuning_config import TuningConfig
from torchtowers.models.yaml_loader import load_yaml

__all__ = ["EvaluationConfig", "RunConfig", "load_config", "parse_config"]

_PATHS = {"data": ("interactions", "users", "items"), "split": ("train", "validation", "test")}


class EvaluationConfig(Section):
    """What is measured over the whole catalogue.

    Args:
        accuracy_at: The ks of top-k accuracy: the part of the pairs whose item is among the k best.
        ranking_at: The ks of recall, NDCG, precision, MRR, MAP and hit rate, means over users, and of the
            catalogue's coverage.
    """

    accuracy_at: tuple[int, ...] = (1, 5, 10, 50, 100)
    ranking_at: tuple[int, ...] = (10,)

    @model_validator(mode="after")
    def _positive(self) -> "EvaluationConfig":
        if any(k < 1 for k in (*self.accuracy_at, *self.ranking_at)):
            raise ValueError("every k has to be at least 1")
        return self


class RunConfig(Section):
    """All of it.

    Args:
        data: Where interactions come from.
        split: How they are divided.
        features: What each tower takes.
        model: The towers.
        training: How they are fitted.
        evaluation: What is measured.
        tuning: Which settings `torchtowers tune` tries.
    """

    data: DataConfig
    split: SplitConfig = SplitConfig()
    features: FeaturesConfig
    model: ModelConfig = TwoTowerConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tuning: TuningConfig = TuningConfig()

    @model_validator(mode="after")
    def _features_fit(self) -> "RunConfig":
        data, features = self.data, self.features
        for place, key, ids in (
            ("user", data.item, "the items' ids"),
            ("item", data.user, "the users' ids"),
            ("context", data.item, "the items' ids"),
            ("context", data.user, "the users' ids"),
            ("context", data.label, "the label, which is to be predicted"),
        ):
            if key in getattr(features, place):
                raise ValueError(f"features.{place}: {key} holds {ids}: rename the column, or leave it out")
        if features.context and not isinstance(self.model, RankingConfig):
            raise ValueError(
                f"features.context: a model of kind {self.model.kind} takes no features of interactions, "
                "only one of kind ranking: leave them out"
            )
        return self

    def to_yaml(self) -> str:
        """Give the whole configuration, defaults included, so that the run can be repeated from it."""
        content = json.loads(self.model_dump_json())
        return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file and validate it.

    Args:
        path: The file.
        overrides: Such as `training.epochs=3`; values are read as YAML.

    Raises:
        ConfigError: The file can't be read, or a key is unknown or of the wrong type. The text names the
            key, what came and what is allowed.
    """
    path = Path(path)
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        keys = ", ".join(RunConfig.model_fields)
        raise ConfigError(f"{path}: expected a mapping with the keys {keys}, got {shorten(content)}")
    for override in overrides:
        _override(content, override)
    _resolve_paths(content, path.parent)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], source: str = "config") -> RunConfig:
    """Validate parsed YAML; see `load_config`."""
    content = _with_kinds(content)
    try:
        # JSON's strict mode takes lists for tuples and integers for floats, and bends nothing else.
        return RunConfig.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, RunConfig)}") from error
    except (ValueError, RecursionError) as error:  # an alias inside its own anchor
        raise ConfigError(f"{source}: it contains itself or is nested too deeply") from error


def _with_kinds(content: dict[str, Any]) -> dict[str, Any]:
    """Add the kinds that other keys imply."""
    model, split = content.get("model"), content.get("split")
    if isinstance(model, dict) and "kind" not in model:
        content = {**content, "model": {"kind": "two_tower", **model}}
    if isinstance(split, dict) and "kind" not in split:
        for key, kind in (("column", "column"), ("train", "files")):
            if key in split:
                content = {**content, "split": {"kind": kind, **split}}
    return content


def _resolve_paths(content: dict[str, Any], folder: Path) -> None:
    """Make paths absolute: in the file they go from its own folder, and its copy in a run lies elsewhere."""
    for name, keys in _PATHS.items():
        section = content.get(name)
        if not isinstance(section, dict):
            continue
        for key in keys:
            if isinstance(section.get(key), str):
                section[key] = str((folder / Path(section[key]).expanduser()).resolve())


def _override(content: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise ConfigError(
            f"override {shorten(override)}: expected dotted.key=value, such as training.epochs=3"
        )
    *parents, last = name.split(".")
    section = content
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"override {shorten(override)}: {parent} is not a section")
    try:
        section[last] = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {shorten(override)}: the value is not YAML") from error
