"""The metrics that TorchServe shows to Prometheus: its own, and those that our handlers count."""

from pathlib import Path

import yaml

from torchtowers.handlers.measures import METRICS, MODEL
from torchtowers.serving.java import find_torchserve

__all__ = ["metrics_config"]


def metrics_config() -> str:
    """Give the text of the file that `metrics_config` in config.properties names.

    A metric that is not listed there is left out of what Prometheus gets. The server's own list is kept.

    Raises:
        ServingError: TorchServe is not installed.
    """
    own = find_torchserve() / "ts" / "configs" / "metrics.yaml"
    content = yaml.safe_load(Path(own).read_text(encoding="utf-8"))
    counters = content.setdefault("model_metrics", {}).setdefault("counter", [])
    for name, labels in METRICS.items():
        counters.append({"name": name, "unit": "count", "dimensions": [*MODEL, *labels]})
    return yaml.safe_dump(content, sort_keys=False)
