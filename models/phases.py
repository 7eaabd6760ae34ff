"""The one or two trainings of a run: one that chooses the number of epochs, and the one that is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.models.callbacks import Callback, StopAfter
from torchtowers.models.config import RunConfig
from torchtowers.models.errors import ConfigError
from torchtowers.models.kinds import kind_of
from torchtowers.models.run import Run
from torchtowers.models.training import fit

__all__ = ["Phases", "build_model"]

Log = Callable[[str], None]


def build_model(config: RunConfig, dataset: Dataset) -> nn.Module:
    """Build the model that a configuration describes, with new weights."""
    torch.manual_seed(config.training.seed)
    return kind_of(config).build(config, dataset)


@dataclass(frozen=True)
class Phases:
    """Trains what a configuration describes.

    Args:
        config: With all settings resolved.
        run: Where to write.
        log: Told each epoch's figures.
        show_progress: Whether to draw progress bars.
        callbacks: Called after each epoch on the validation part, behind its figures.
    """

    config: RunConfig
    run: Run
    log: Log = lambda _: None
    show_progress: bool = False
    callbacks: Sequence[Callback] = ()

    def select(self, dataset: Dataset) -> tuple[nn.Module, bool]:
        """Find the number of epochs by the validation part, in the run's `selection`; goes on where it was.

        Returns:
            The model with its best epoch's weights, and whether training was interrupted; the run's own model
            is then this one, so that a run that is cut here can be used.
        """
        selection, config = self.run.selection, self.config
        model = build_model(config, dataset)
        if selection.is_finished:
            return model, False
        self.log("choosing the number of epochs by the validation part")
        callbacks = [_Validation(config, dataset, model), *self.callbacks]
        resume = selection.is_unfinished
        interrupted = self._fit(model, dataset, selection, callbacks, config, resume=resume)
        if interrupted:
            self.run.save_model(model)
        else:
            figures = kind_of(config).measure(config, dataset, model.cpu(), "validation")
            selection.save_metrics({"validation": figures})
        return model.cpu(), interrupted

    def train(self, dataset: Dataset, *, resume: bool) -> tuple[nn.Module, bool]:
        """Train the run's model.

        Returns:
            The model on the CPU, and whether training was interrupted.
        """
        config = self.config
        callbacks: list[Callback] = []
        model = build_model(config, dataset)
        stopping = config.training.early_stopping
        if config.training.refit:
            if stopping is None:
                raise ConfigError("training.refit needs early_stopping, which chooses the number of epochs")
            epochs = self.run.selection.best_epoch(stopping)
            self.log(f"training anew on training and validation part, {epochs} epochs")
            callbacks = [StopAfter(epochs)]
            # The schedule stays that of the selection, so that an epoch here is what it was there.
            training = config.training.model_copy(update={"early_stopping": None, "refit": False})
            config = config.model_copy(update={"training": training})
        elif len(dataset.validation):
            callbacks = [_Validation(config, dataset, model), *self.callbacks]
        interrupted = self._fit(model, dataset, self.run, callbacks, config, resume=resume)
        # Evaluation and what comes after it are the CPU's.
        return model.cpu(), interrupted

    def _fit(
        self,
        model: nn.Module,
        dataset: Dataset,
        run: Run,
        callbacks: Sequence[Callback],
        config: RunConfig,
        *,
        resume: bool,
    ) -> bool:
        progress = fit(
            model,
            kind_of(config).batches(config, dataset),
            config.training,
            run,
            resume=resume,
            callbacks=callbacks,
            log=self.log,
            show_progress=self.show_progress,
        )
        return progress.interrupted


class _Validation(Callback):
    """Adds what is measured on the validation part to an epoch's figures."""

    def __init__(self, config: RunConfig, dataset: Dataset, model: nn.Module) -> None:
        self._config = config
        self._dataset = dataset
        self._model = model

    def after_epoch(self, epoch: int, figures: dict[str, float]) -> bool:
        kind, config = kind_of(self._config), self._config
        measured = kind.measure(config, self._dataset, self._model.cpu(), "validation")
        self._model.to(config.training.device)
        figures |= {f"validation/{name}": value for name, value in measured.items()}
        return False
