import yaml

from torchtowers.handlers.measures import METRICS
from torchtowers.serving.metrics_config import metrics_config


def test_our_metrics_are_listed_beside_the_servers_own() -> None:
    content = yaml.safe_load(metrics_config())
    ours = {metric["name"]: metric for metric in content["model_metrics"]["counter"]}
    assert ours.keys() == METRICS.keys()
    assert ours["torchtowers_stage_seconds_total"]["dimensions"] == ["model_name", "model_version", "stage"]
    assert "ts_inference_requests_total" in [metric["name"] for metric in content["ts_metrics"]["counter"]]
    assert "PredictionTime" in [metric["name"] for metric in content["model_metrics"]["gauge"]]
