"""The keys of training: what is refused, and how it is explained."""

import pytest

from tests.tiny import tiny_config
from torchtowers.models.config import parse_config
from torchtowers.models.errors import ConfigError


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"accumulate": 0}, "training.accumulate: got 0, allowed: greater than or equal to 1"),
        ({"max_gradient_norm": 0.0}, "training.max_gradient_norm: got 0.0, allowed: greater than 0"),
        ({"device": "tpu"}, "training.device: got tpu, allowed: 'cpu' or 'cuda'"),
        ({"precision": "fp16"}, "training.precision: got fp16, allowed: 'float32' or 'bf16'"),
        ({"compile": 1}, "training.compile: got 1, allowed: a valid boolean"),
        (
            {"embedding_optimizer": "adam"},
            "training.embedding_optimizer: got adam, allowed: 'lazy_adam', 'sparse_adagrad' or",
        ),
        (
            {"early_stopping": {"metric": "loss", "mode": "max"}},
            "a larger loss is not better: mode min",
        ),
        (
            {"early_stopping": {"metric": "loss", "goal": "min"}},
            "training.early_stopping.goal: unknown key, got min; allowed here: metric, patience, mode",
        ),
        ({"early": 1}, "training.early: unknown key, got 1; allowed here: epochs, batch_size, accumulate"),
    ],
)
def test_what_is_not_allowed_is_explained(training: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny_config(training=training)
    assert message in str(caught.value)


def test_options_survive_the_runs_configuration() -> None:
    config = tiny_config(training={"max_gradient_norm": 1, "early_stopping": {"metric": "m"}})
    assert config.training.early_stopping is not None
    assert (config.training.early_stopping.mode, config.training.max_gradient_norm) == ("max", 1.0)
    assert parse_config(config.model_dump(mode="json")) == config


def test_a_loss_is_better_when_smaller_without_saying_so() -> None:
    stopping = tiny_config(training={"early_stopping": {"metric": "loss"}}).training.early_stopping
    assert stopping is not None
    assert stopping.mode == "min"
