"""A run's whole configuration: one YAML file, validated before anything runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from torchtowers.data.config import (
    BucketsFeature,
    DataConfig,
    FeaturesConfig,
    HistoryFeature,
    ListFeature,
    Section,
    SplitConfig,
    TokenFeature,
    WordsFeature,
)
from torchtowers.data.errors import shorten
from torchtowers.models.errors import ConfigError
from torchtowers.models.optimizers import EmbeddingOptimizer
from torchtowers.models.yaml_loader import load_yaml

__all__ = [
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "ModelConfig",
    "RunConfig",
    "TrainingConfig",
    "load_config",
    "parse_config",
]

Rate = Field(default=0.0, ge=0, lt=1)


class ModelConfig(Section):
    """The two towers; see `models.two_tower.build_two_tower` for each setting."""

    kind: Literal["two_tower"] = "two_tower"
    embedding_dim: int = Field(default=64, ge=1)
    query_hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()
    candidate_hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()
    dim: int = Field(default=64, ge=1)
    pooling: Literal["mean", "sqrtn"] = "mean"
    dropout: float = Rate
    unknown_rate: float = Rate
    history_dropout: float = Rate
    empty_history_rate: float = Rate
    normalize: bool = True
    item_bias: bool = True
    temperature: float = Field(default=1.0, gt=0)
    remove_accidental_hits: bool = True
    remove_duplicate_queries: bool = False


class EarlyStoppingConfig(Section):
    """When training ends before its last epoch; the run then has the best epoch's weights.

    Args:
        metric: A figure of history.jsonl, such as `validation/top_100_accuracy`, or `loss`. With a model of
            your own: `loss`, or a figure that a callback adds.
        patience: Epochs in which it has not become better, after which training ends.
        mode: Whether larger (`max`) or smaller (`min`) is better; smaller, if not given, for `loss` only.
    """

    metric: str
    patience: int = Field(default=3, ge=1)
    mode: Literal["max", "min"] = "max"

    @model_validator(mode="before")
    @classmethod
    def _of_loss(cls, content: Any) -> Any:
        # Without it, the epoch with the largest loss would be kept.
        if isinstance(content, dict) and content.get("metric") == "loss":
            return {"mode": "min", **content}
        return content

    @model_validator(mode="after")
    def _sensible(self) -> "EarlyStoppingConfig":
        if self.metric == "loss" and self.mode == "max":
            raise ValueError("a larger loss is not better: mode min")
        return self


class TrainingConfig(Section):
    """How the model is fitted.

    `fit` takes a model and batches that are made already: `batch_size` and `seed` are for who makes them.

    Args:
        epochs: Passes over the training pairs.
        batch_size: Pairs a step; each pair's negatives are the other items of its batch.
        accumulate: Batches a step; their gradients are averaged, also over fewer at an epoch's end.
        embedding_optimizer: Of the tables; changes only the rows a batch names. `lazy_adam`, or with less
            state `sparse_adagrad` (one value an element) or `row_wise_adagrad` (one value a row).
        embedding_learning_rate: Of the tables.
        dense_learning_rate: Of the layers, by AdamW.
        weight_decay: Of the layers.
        warmup: Part of the steps over which the learning rates rise from 0.
        final_learning_rate: Part of the learning rates that is left after the last step; they fall linearly.
        max_gradient_norm: Larger gradients, all parameters' taken together, are scaled to this norm; None
            leaves them as they are.
        early_stopping: Ends training when a figure no longer becomes better; None goes through all epochs.
        device: `cpu`, or `cuda` for the current GPU.
        precision: `float32`, or `bf16` for bfloat16 where torch's autocast takes it for safe; weights stay
            float32. Meant for GPUs; few CPUs are faster with it.
        compile: Whether torch.compile translates the computation of the loss, which takes a while at the
            beginning, and needs a C++ compiler on the CPU. Table lookups stay as they are.
        seed: Of initial values, shuffles and dropout; two runs with one seed and as many threads are equal.
        threads: Of torch's operations on the CPU; None leaves it to torch, which takes every core.
    """

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1024, ge=2)
    accumulate: int = Field(default=1, ge=1)
    embedding_optimizer: EmbeddingOptimizer = "lazy_adam"
    embedding_learning_rate: float = Field(default=0.01, gt=0)
    dense_learning_rate: float = Field(default=0.001, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    final_learning_rate: float = Field(default=1.0, ge=0, le=1)
    max_gradient_norm: float | None = Field(default=None, gt=0)
    early_stopping: EarlyStoppingConfig | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    seed: int = Field(default=1, ge=0, lt=2**63)
    threads: int | None = Field(default=None, ge=1)


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
    """

    data: DataConfig
    split: SplitConfig = SplitConfig()
    features: FeaturesConfig
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

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
        raise ConfigError(
            f"{path}: expected a mapping with the keys {_keys(RunConfig)}, got {shorten(content)}"
        )
    for override in overrides:
        _override(content, override)
    return parse_config(content, str(path))


def parse_config(content: dict[str, Any], source: str = "config") -> RunConfig:
    """Validate parsed YAML; see `load_config`."""
    try:
        # JSON's strict mode takes lists for tuples and integers for floats, and bends nothing else.
        return RunConfig.model_validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise ConfigError(f"{source}: {_explain(error)}") from error
    except (ValueError, RecursionError) as error:  # an alias inside its own anchor
        raise ConfigError(f"{source}: it contains itself or is nested too deeply") from error


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


_SECTIONS: dict[str, type[Section]] = {
    "": RunConfig,
    "data": DataConfig,
    "split": SplitConfig,
    "features": FeaturesConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "training.early_stopping": EarlyStoppingConfig,
    "evaluation": EvaluationConfig,
}
_FEATURES: dict[str, type[Section]] = {
    "token": TokenFeature,
    "token_list": ListFeature,
    "words": WordsFeature,
    "buckets": BucketsFeature,
    "history": HistoryFeature,
}


def _keys(section: type[Section]) -> str:
    return ", ".join(section.model_fields)


def _explain(error: ValidationError) -> str:
    """Turn the first of pydantic's findings into one line."""
    found = error.errors()
    first = found[0]
    # A feature's place holds the kind that was chosen for it; a person knows it by its name only.
    place = [str(part) for part in first["loc"]]
    section = _SECTIONS.get(".".join(place[:-1])) or _SECTIONS.get(place[0], RunConfig)
    if len(place) > 3 and place[0] == "features":
        section = _FEATURES.get(place[3], section)
        del place[3]
    name = ".".join(place) or "the configuration"
    came = shorten(first["input"])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{name}: unknown key, got {came}; allowed here: {_keys(section)}{more}"
    if first["type"] == "missing":
        return f"{name}: missing; it is needed{more}"
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    message = message[0].lower() + message[1:]
    return f"{name}: got {came}, allowed: {message}{more}"
