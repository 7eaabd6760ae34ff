"""The training loop."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from types import FrameType

import torch
from torch import nn
from tqdm import tqdm

from torchtowers.models.callbacks import Callback, EarlyStopping
from torchtowers.models.checkpoint import Progress, load_checkpoint, save_checkpoint
from torchtowers.models.compiling import compiled
from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.errors import ConfigError, TrainingError
from torchtowers.models.optimizers import build_optimizer
from torchtowers.models.run import Run
from torchtowers.models.schedules import warmup_and_decay
from torchtowers.models.sparse_gradients import clip_gradient_norm
from torchtowers.models.trainable import BatchSource, check_trainable, loss_value
from torchtowers.models.training_config import TrainingConfig

__all__ = ["fit"]


def fit(
    model: nn.Module,
    batches: BatchSource,
    config: TrainingConfig,
    run: Run,
    *,
    optimizer: CompositeOptimizer | torch.optim.Optimizer | None = None,
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
        model: A `Trainable`, built with torch's generator seeded by `config.seed`. It is left in evaluation
            mode, on the device that was trained on.
        batches: What to learn.
        config: How.
        run: Where to write; made where it is missing. What an earlier training left there is replaced, unless
            it is resumed.
        optimizer: Of parameters of the model, which is then on its device already. The learning rates, their
            warm-up and decay, `embedding_optimizer` and `weight_decay` are then its own: those of `config`
            are not looked at. None builds it from `config`, see `build_optimizer`.
        resume: Whether to go on from the run's checkpoint; takes the same arguments as the run's beginning.
        callbacks: Called after each epoch, one after the other, early stopping last.
        log: Told each epoch's loss and speed.
        show_progress: Whether to draw a progress bar on standard error.

    Returns:
        Where training ended.

    Raises:
        ConfigError: There is no such device.
        TypeError: The model has no `compute_loss`, or the batches are no `BatchSource`.
        ValueError: A loss is no scalar, or an epoch has another number of batches than was said.
        TrainingError: The loss is no longer finite, or early stopping looks at a figure that there is not.
        RunError: There is no checkpoint to resume from, it is of another model or optimizer, or the run can't
            be written.

    Example:
        >>> import tempfile
        >>> from torchtowers.data import ColumnBatches
        >>> class Line(torch.nn.Linear):
        ...     def compute_loss(self, batch):
        ...         return (self(batch["x"]) - batch["y"]).square().mean()
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> batches = ColumnBatches({"x": x, "y": 3 * x + 1}, batch_size=16, seed=1)
        >>> model, config = Line(1, 1), TrainingConfig(epochs=50, dense_learning_rate=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     progress = fit(model, batches, config, Run(folder), show_progress=False)
        >>> round(model(torch.tensor([2.0])).item(), 1)
        7.0
    """
    whole = check_trainable(model, batches).compute_loss
    device = _device(config.device)
    model.to(device)
    optimizer = _composite(optimizer, config, model, math.ceil(len(batches) / config.accumulate))
    learnt = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    callbacks = [*callbacks, *_early_stopping(config, run, model, log)]
    if resume:
        progress = load_checkpoint(run, model, optimizer, callbacks)
    else:
        progress = Progress()
        # So that a run killed in its first epoch can be resumed.
        save_checkpoint(run, model, optimizer, callbacks, progress)
        run.drop_results()
    with (
        _threads(config.threads),
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
                        progress.loss_sum += _finite(loss_value(loss), title, progress.step)
                        (loss / len(group)).backward()  # type: ignore[no-untyped-call]
                        progress.step += 1
                    if config.max_gradient_norm is not None:
                        clip_gradient_norm(learnt, config.max_gradient_norm)
                    optimizer.step()
                    # The model's too: an optimizer may have been given a part of its parameters only.
                    optimizer.zero_grad()
                    model.zero_grad()
                    bar.update()
            _check_length(batches, progress)
            if progress.step == len(batches):
                figures = {"loss": progress.loss_sum / len(batches)}
                progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
                model.eval()
                for callback in callbacks:
                    progress.stopped |= bool(callback.after_epoch(progress.epoch, figures))
                    figures = {name: float(value) for name, value in figures.items()}
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
            f"device: got cuda, and this torch ({torch.__version__}) finds no CUDA device: "
            "choose cpu, or see what torch.cuda.is_available() needs"
        )
    return torch.device(name)


def _composite(
    optimizer: CompositeOptimizer | torch.optim.Optimizer | None,
    config: TrainingConfig,
    model: nn.Module,
    steps: int,
) -> CompositeOptimizer:
    """Give one's own optimizer, or build that of the configuration for so many steps an epoch."""
    if isinstance(optimizer, CompositeOptimizer):
        return optimizer
    if optimizer is not None:
        return CompositeOptimizer([optimizer])
    return build_optimizer(
        model,
        embedding_optimizer=config.embedding_optimizer,
        embedding_learning_rate=config.embedding_learning_rate,
        dense_learning_rate=config.dense_learning_rate,
        weight_decay=config.weight_decay,
        schedule=warmup_and_decay(
            config.epochs * steps, warmup=config.warmup, final=config.final_learning_rate
        ),
    )


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


def _finite(loss: float, title: str, step: int) -> float:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} in {title}, batch {step + 1}: lower the learning rates, set "
            "max_gradient_norm, or raise the temperature that scores are divided by"
        )
    return loss


def _check_length(batches: BatchSource, progress: Progress) -> None:
    if progress.step > len(batches) or (progress.step < len(batches) and not progress.interrupted):
        raise ValueError(
            f"batches gave {progress.step} batches in an epoch, and its len() is {len(batches)}: "
            "epoch(number, first) has to give all of them from the first on, and no more"
        )


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
def _threads(count: int | None) -> Iterator[None]:
    """Let torch use as many threads as the configuration says, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
