"""Which settings a search tries, and a configuration with some of them."""

import json
from collections.abc import Mapping
from typing import Any

from torchtowers.models.config import RunConfig, parse_config
from torchtowers.models.errors import ConfigError
from torchtowers.models.tuning_config import Range, Setting

__all__ = ["space_of", "with_settings"]

_SECTIONS = ("model", "training")
_DEFAULTS: dict[str, dict[str, Setting]] = {
    "two_tower": {
        "model.dim": (32, 64, 128),
        "model.embedding_dim": (32, 64, 128),
        "model.dropout": Range(low=0.0, high=0.7),
        "model.temperature": Range(low=0.05, high=0.5, log=True),
    },
    "multi_task": {
        "model.dim": (32, 64, 128),
        "model.dropout": Range(low=0.0, high=0.7),
        "model.temperature": Range(low=0.05, high=0.5, log=True),
        "model.rating_weight": Range(low=0.1, high=10.0, log=True),
    },
    "sequential": {
        "model.dim": (32, 64, 128),
        "model.hidden": (64, 128, 256),
        "model.dropout": Range(low=0.0, high=0.7),
    },
    "ranking": {
        "model.embedding_dim": (8, 16, 32, 64),
        "model.dropout": Range(low=0.0, high=0.7),
        "training.weight_decay": Range(low=1e-5, high=0.1, log=True),
    },
}
_RATES: dict[str, Setting] = {
    "training.embedding_learning_rate": Range(low=1e-3, high=0.03, log=True),
    "training.dense_learning_rate": Range(low=3e-4, high=0.01, log=True),
}


def space_of(config: RunConfig) -> dict[str, Setting]:
    """Give what is tried, each key and value checked before anything runs."""
    chosen = dict(config.tuning.space) or {**_DEFAULTS[config.model.kind], **_RATES}
    for key, setting in chosen.items():
        if key.partition(".")[0] not in _SECTIONS:
            raise ConfigError(
                f"tuning.space: {key} can't be tuned; keys begin with {' or '.join(_SECTIONS)}, such as "
                "model.dropout"
            )
        values = (setting.low, setting.high) if isinstance(setting, Range) else setting
        for value in values:
            with_settings(config, {key: value})
    return chosen


def with_settings(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """Give a configuration with other values, by dotted key.

    Raises:
        ConfigError: A key is unknown, or a value does not fit it.
    """
    content = json.loads(config.model_dump_json())
    for key, value in settings.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section.get(parent) or {}
        section[last] = value
    return parse_config(content, "tuning.space")
