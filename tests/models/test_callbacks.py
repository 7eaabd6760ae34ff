"""Early stopping, step by step."""

import math

import pytest

from torchtowers.models.callbacks import Callback, EarlyStopping
from torchtowers.models.errors import TrainingError


class Weights:
    """Counts up as if it were trained, and remembers what is kept."""

    def __init__(self) -> None:
        self.now = 0
        self.kept = 0
        self.lines: list[str] = []

    def keep(self) -> None:
        self.kept = self.now

    def restore(self) -> None:
        self.now = self.kept


def stopping(weights: Weights, *, patience: int = 2, mode: str = "max") -> EarlyStopping:
    return EarlyStopping(
        "m",
        patience=patience,
        mode=mode,  # type: ignore[arg-type]
        keep=weights.keep,
        restore=weights.restore,
        log=weights.lines.append,
    )


def run(callback: Callback, weights: Weights, values: list[float]) -> int:
    """Give the epoch after which training ends."""
    for epoch, value in enumerate(values, 1):
        weights.now = epoch
        if callback.after_epoch(epoch, {"loss": 1.0, "m": value}):
            break
    callback.finish()
    return epoch


@pytest.mark.parametrize(
    ("mode", "values", "ends", "best"),
    [
        ("max", [1, 3, 2, 2, 9], 4, 2),
        ("min", [3, 1, 2, 2, 0], 4, 2),
        ("max", [1, 3, 2, 4, 3, 3, 5], 6, 4),
        ("max", [1, 2, 3], 3, 3),
        ("max", [2, 2, 2], 3, 1),  # as good is not better
        ("max", [math.nan, 1, math.nan, 0], 4, 2),
        ("min", [-math.inf, 5], 2, 2),
    ],
)
def test_training_ends_with_the_best_weights(mode: str, values: list[float], ends: int, best: int) -> None:
    weights = Weights()
    assert run(stopping(weights, mode=mode), weights, values) == ends
    assert weights.now == best
    assert f"the weights are those of epoch {best}" in weights.lines[-1]


def test_without_any_finite_figure_training_ends_and_the_weights_stay() -> None:
    weights = Weights()
    assert run(stopping(weights), weights, [math.nan] * 5) == 2
    assert weights.now == 2


def test_the_state_goes_on_in_another_process() -> None:
    weights = Weights()
    first = stopping(weights)
    assert not first.after_epoch(1, {"m": 3.0})
    assert not first.after_epoch(2, {"m": 1.0})
    second = stopping(weights)
    second.load_state(first.state())
    assert second.after_epoch(3, {"m": 2.0})


def test_a_figure_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(TrainingError, match=r"no m among an epoch's figures: loss, other"):
        stopping(Weights()).after_epoch(1, {"loss": 1.0, "other": 2.0})


def test_a_callback_does_nothing_by_itself() -> None:
    callback, figures = Callback(), {"loss": 1.0}
    assert not callback.after_epoch(1, figures)
    assert figures == {"loss": 1.0}
    assert callback.state() == {}
