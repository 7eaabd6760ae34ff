"""What training does after an epoch: measure, stop early, or whatever a callback of your own does."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

from torchtowers.models.errors import TrainingError

__all__ = ["Callback", "EarlyStopping", "StopAfter"]


class Callback:
    """Does nothing; override what you need.

    Example:
        >>> class Print(Callback):
        ...     def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        ...         print(epoch, figures)
        ...         return False
        >>> Print().after_epoch(1, {"loss": 0.5})
        1 {'loss': 0.5}
        False
    """

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        """Look at an epoch, before its line of history and its checkpoint are written.

        The model is in evaluation mode, on the device that is trained on.

        Args:
            epoch: Complete epochs.
            figures: Of this epoch: `loss`, and what earlier callbacks added. Numbers that are added to them
                go into history.jsonl, and later callbacks see them; early stopping is the last.

        Returns:
            Whether training should end here.
        """
        return False

    def finish(self) -> None:
        """Be told that training has ended, or was interrupted, before the run's model is written."""

    def state(self) -> dict[str, float]:
        """Give what the checkpoint has to hold, so that a resumed training goes on exactly."""
        return {}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Take back what `state` gave."""


class EarlyStopping(Callback):
    """Ends training when a figure has not become better for some epochs, with the best epoch's weights.

    Args:
        metric: Name of the figure.
        patience: Epochs without a better one after which training ends.
        mode: Whether larger (`max`) or smaller (`min`) is better.
        keep: Called after an epoch that is the best so far; keeps its weights.
        restore: Called at the end, and when training is interrupted; brings back what was kept.
        log: Told why training ends, and which epoch's weights it has.

    Raises:
        TrainingError: After an epoch: there is no such figure.
    """

    def __init__(
        self,
        metric: str,
        *,
        patience: int,
        mode: Literal["max", "min"],
        keep: Callable[[], None],
        restore: Callable[[], None],
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._metric = metric
        self._patience = patience
        self._sign = 1.0 if mode == "max" else -1.0
        self._keep = keep
        self._restore = restore
        self._log = log
        self._best = math.nan
        self._best_epoch = 0

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        """See whether the epoch is the best so far, or patience is at its end."""
        if self._metric not in figures:
            raise TrainingError(
                f"early stopping: there is no {self._metric} among an epoch's figures: {', '.join(figures)}; "
                "take one of these as the metric, or a callback that adds it"
            )
        value = figures[self._metric]
        is_better = not self._best_epoch or self._sign * value > self._sign * self._best
        if is_better and math.isfinite(value):
            self._best, self._best_epoch = value, epoch
            self._keep()
        is_over = epoch - self._best_epoch >= self._patience
        if is_over:
            self._log(f"{self._metric} has not become better for {self._patience} epochs: training ends here")
        return is_over

    def finish(self) -> None:
        """Bring the best epoch's weights back."""
        if self._best_epoch:
            self._restore()
            self._log(f"the weights are those of epoch {self._best_epoch}: {self._metric} {self._best:.4f}")

    def state(self) -> dict[str, float]:
        """Give the best figure and its epoch."""
        return {"best": self._best, "best_epoch": float(self._best_epoch)}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Take back what `state` gave."""
        self._best, self._best_epoch = state["best"], int(state["best_epoch"])


class StopAfter(Callback):
    """Ends training after a number of epochs, while learning rates fall as if it went on.

    Args:
        epochs: Their number.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        """See whether this was the last one."""
        return epoch >= self._epochs
