"""The training loop."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from types import FrameType
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from torchtowers.models.callbacks import Callback, EarlyStopping
from torchtowers.models.checkpoint import Progress, load_checkpoint, save_checkpoint
from torchtowers.models.compiling import compiled
from torchtowers.models.config import TrainingConfig
from torchtowers.models.errors import ConfigError, TrainingError
from torchtowers.models.optimizers import build_optimizer
from torchtowers.models.run import Run
from torchtowers.models.schedules import warmup_and_decay
from torchtowers.models.sparse_gradients import clip_gradient_norm

__all__ = ["BatchSource", "Trainable", "fit"]


class Trainable(Protocol):
    """What a model has to be, besides a module."""

    def compute_loss(self, batch: Any) -> Tensor:
        """Give the loss of a batch, a scalar; the batch's arrays go to the model's own device here."""


class BatchSource(Protocol):
    """Where batches come from, such as `data.batches.Batches`."""

    @property
    def batch_size(self) -> int:
        """Examples a batch."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, number: int, first: int = 0) -> Iterator[Any]:
        """Give an epoch's batches, from batch `first` on; the same ones at each call."""


def fit(
    model: nn.Module,
    batches: BatchSource,
    config: TrainingConfig,
    run: Run,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    log: Callable[[str], None] = lambda _: None,
    show_progress: bool = True,
) -> Progress:
    """Fit a model, writing a checkpoint after every epoch and when interrupted.

    The first Ctrl-C ends training after the step that is under way; the run then holds a usable model and
    a checkpoint, from which `resume` goes on to the same weights as an uninterrupted run. A second one
    ends the process.

    Args:
        model: A `Trainable`, built from the run's configuration with torch's generator seeded by
            `config.seed`. It is left in evaluation mode, on the device that was trained on.
        batches: What to learn.
        config: How.
        run: Where to write.
        resume: Whether to go on from the run's checkpoint; takes the same arguments as the run's beginning.
        callbacks: Called after each epoch, one after the other.
        log: Told each epoch's loss and speed.
        show_progress: Whether to draw a progress bar on standard error.

    Returns:
        Where training ended.

    Raises:
        ConfigError: There is no such device.
        TrainingError: The loss is no longer finite, or early stopping looks at a figure that there is not.
        RunError: There is no checkpoint to resume from.
    """
    device = _device(config.device)
    model.to(device)
    steps = math.ceil(len(batches) / config.accumulate)
    optimizer = build_optimizer(
        model,
        embedding_optimizer=config.embedding_optimizer,
        embedding_learning_rate=config.embedding_learning_rate,
        dense_learning_rate=config.dense_learning_rate,
        weight_decay=config.weight_decay,
        schedule=warmup_and_decay(
            config.epochs * steps, warmup=config.warmup, final=config.final_learning_rate
        ),
    )
    callbacks = [*callbacks, *_early_stopping(config, run, model, log)]
    if resume:
        progress = load_checkpoint(run, model, optimizer, callbacks)
    else:
        progress = Progress()
        # So that a run killed in its first epoch can be resumed.
        save_checkpoint(run, model, optimizer, callbacks, progress)
    whole = cast(Trainable, model).compute_loss
    with (
        _interruptible(progress),
        compiled(model, whole) if config.compile else nullcontext(whole) as compute_loss,
    ):
        while progress.epoch < config.epochs and not progress.stopped and not progress.interrupted:
            title = f"epoch {progress.epoch + 1}/{config.epochs}"
            model.train()
            with _Bar(title, progress, batches, show=show_progress) as bar:
                stream = batches.epoch(progress.epoch, progress.step)
                while not progress.interrupted and (group := list(islice(stream, config.accumulate))):
                    for batch in group:
                        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                            loss = compute_loss(batch)
                        progress.loss_sum += _finite(loss, title, progress.step)
                        (loss / len(group)).backward()  # type: ignore[no-untyped-call]
                        progress.step += 1
                    if config.max_gradient_norm is not None:
                        clip_gradient_norm(model.parameters(), config.max_gradient_norm)
                    optimizer.step()
                    optimizer.zero_grad()
                    bar.update()
            if progress.step == len(batches):
                figures = {"loss": progress.loss_sum / len(batches)}
                progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
                for callback in callbacks:
                    progress.stopped |= callback.after_epoch(progress.epoch, figures)
                # Before the checkpoint: a line that has none yet is cut off at resume.
                speed = {"pairs_per_second": round(bar.speed)}
                run.append_history({"epoch": progress.epoch, "loss": figures["loss"]} | speed | figures)
                log(f"{title}: loss {figures['loss']:.4f}, {bar.speed:,.0f} pairs/s")
            save_checkpoint(run, model, optimizer, callbacks, progress)
    for callback in callbacks:
        callback.finish()
    run.save_model(model)
    if progress.epoch == config.epochs or progress.stopped:
        run.drop_checkpoint()
        progress.interrupted = False
    model.eval()
    return progress


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"training.device: got cuda, and this torch ({torch.__version__}) finds no CUDA device: "
            "choose cpu, or see what torch.cuda.is_available() needs"
        )
    return torch.device(name)


def _early_stopping(
    config: TrainingConfig, run: Run, model: nn.Module, log: Callable[[str], None]
) -> Iterator[Callback]:
    if config.early_stopping is not None:
        # The best weights are the run's model meanwhile: there is no copy in memory, and a run that is
        # interrupted holds its best model.
        yield EarlyStopping(
            **config.early_stopping.model_dump(),
            keep=lambda: run.save_model(model),
            restore=lambda: run.load_model(model),
            log=log,
        )


def _finite(loss: Tensor, title: str, step: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss became {value} in {title}, batch {step + 1}: lower "
            "training.embedding_learning_rate or training.dense_learning_rate, "
            "or raise model.temperature"
        )
    return value


class _Bar:
    """The progress bar of an epoch, or of the rest of it, and its speed in examples a second."""

    def __init__(self, title: str, progress: Progress, batches: BatchSource, *, show: bool) -> None:
        self._progress = progress
        self._batch_size = batches.batch_size
        self._first = progress.step
        self._started = time.monotonic()
        self._bar = tqdm(
            total=len(batches), initial=self._first, desc=title, unit="batch", disable=not show, leave=False
        )
        self.speed = 0.0

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self) -> None:
        """Show where training stands."""
        progress = self._progress
        seconds = max(time.monotonic() - self._started, 1e-9)
        self.speed = (progress.step - self._first) * self._batch_size / seconds
        self._bar.update(progress.step - self._bar.n)
        mean = progress.loss_sum / progress.step
        self._bar.set_postfix_str(f"loss {mean:.4f}, {self.speed:,.0f} pairs/s", refresh=False)


@contextmanager
def _interruptible(progress: Progress) -> Iterator[None]:
    """Let the first Ctrl-C only mark the progress, so that a step is never cut in two."""
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN  # as for a job in a shell's background
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return

    def mark(_signal: int, _frame: FrameType | None) -> None:
        progress.interrupted = True
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, mark)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
