"""The training loop."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from torch import Tensor
from tqdm import tqdm

from torchtowers.data.batches import Batches
from torchtowers.data.dataset import Dataset
from torchtowers.models.config import TrainingConfig
from torchtowers.models.errors import TrainingError
from torchtowers.models.optimizers import SparseAndDense
from torchtowers.models.run import Run
from torchtowers.models.two_tower import TwoTower

__all__ = ["Progress", "fit"]

_MODEL = "model."
_OPTIMIZER = "optimizer."
_RANDOM = "random_state"


@dataclass
class Progress:
    """Where training stands.

    Args:
        epoch: Epochs that are complete.
        step: Batches of the current epoch that are complete.
        loss_sum: Of these batches.
        interrupted: Whether training was asked to stop before its end.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    interrupted: bool = False


def fit(
    model: TwoTower,
    dataset: Dataset,
    config: TrainingConfig,
    run: Run,
    *,
    resume: bool = False,
    after_epoch: Callable[[int], dict[str, float]] | None = None,
    log: Callable[[str], None] = lambda _: None,
    show_progress: bool = True,
) -> Progress:
    """Fit a model, writing a checkpoint after every epoch and when interrupted.

    The first Ctrl-C ends training after the step that is under way; the run then holds a usable model and
    a checkpoint, from which `resume` goes on to the same weights as an uninterrupted run. A second one
    ends the process.

    Args:
        model: Built from the run's configuration with torch's generator seeded by `config.seed`.
        dataset: What to learn.
        config: How.
        run: Where to write.
        resume: Whether to go on from the run's checkpoint.
        after_epoch: Called with the number of complete epochs; its figures go into history.jsonl.
        log: Told each epoch's loss and speed.
        show_progress: Whether to draw a progress bar on standard error.

    Returns:
        Where training ended.

    Raises:
        TrainingError: The loss is no longer finite.
        RunError: There is no checkpoint to resume from.
    """
    batches = Batches(dataset, config.batch_size, config.seed)
    optimizer = SparseAndDense(
        model,
        embedding_learning_rate=config.embedding_learning_rate,
        dense_learning_rate=config.dense_learning_rate,
        weight_decay=config.weight_decay,
        total_steps=config.epochs * len(batches),
        warmup=config.warmup,
        final=config.final_learning_rate,
    )
    progress = _restore(model, optimizer, run) if resume else Progress()
    if not resume:
        _save(model, optimizer, run, progress)  # so that a run killed in its first epoch can be resumed
    with _interruptible(progress):
        while progress.epoch < config.epochs and not progress.interrupted:
            title = f"epoch {progress.epoch + 1}/{config.epochs}"
            speed = _fit_epoch(model, batches, optimizer, progress, title, show_progress=show_progress)
            if progress.step == len(batches):
                loss = progress.loss_sum / len(batches)
                progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
                # Before the checkpoint: a line that has none yet is cut off at resume.
                figures = {} if after_epoch is None else after_epoch(progress.epoch)
                run.append_history(
                    {"epoch": progress.epoch, "loss": loss, "pairs_per_second": round(speed), **figures}
                )
                log(f"{title}: loss {loss:.4f}, {speed:,.0f} pairs/s")
            _save(model, optimizer, run, progress)
    run.save_model(model)
    if progress.epoch == config.epochs:
        run.drop_checkpoint()
        progress.interrupted = False
    model.eval()
    return progress


def _fit_epoch(
    model: TwoTower,
    batches: Batches,
    optimizer: SparseAndDense,
    progress: Progress,
    title: str,
    *,
    show_progress: bool,
) -> float:
    """Go through the rest of an epoch, or up to an interruption; give the pairs a second."""
    model.train()
    started, first = time.monotonic(), progress.step
    speed = 0.0
    with tqdm(
        total=len(batches), initial=first, desc=title, unit="batch", disable=not show_progress, leave=False
    ) as bar:
        for batch in batches.epoch(progress.epoch, first):
            loss = model.compute_loss(batch)
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss became {value} in {title}, batch {progress.step + 1}: lower "
                    "training.embedding_learning_rate or training.dense_learning_rate, "
                    "or raise model.temperature"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step(progress.epoch * len(batches) + progress.step)
            progress.step += 1
            progress.loss_sum += value
            speed = (progress.step - first) * batches.batch_size / max(time.monotonic() - started, 1e-9)
            bar.update()
            mean = progress.loss_sum / progress.step
            bar.set_postfix_str(f"loss {mean:.4f}, {speed:,.0f} pairs/s", refresh=False)
            if progress.interrupted:
                break
    return speed


def _save(model: TwoTower, optimizer: SparseAndDense, run: Run, progress: Progress) -> None:
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in optimizer.state().items()}
    tensors[_RANDOM] = torch.get_rng_state()
    tensors["loss_sum"] = torch.tensor(progress.loss_sum, dtype=torch.float64)
    run.save_checkpoint(tensors, {"epoch": progress.epoch, "step": progress.step})


def _restore(model: TwoTower, optimizer: SparseAndDense, run: Run) -> Progress:
    tensors, place = run.load_checkpoint()
    run.cut_history(place["epoch"])
    model.load_state_dict(_below(tensors, _MODEL))
    optimizer.load_state(_below(tensors, _OPTIMIZER))
    torch.set_rng_state(tensors[_RANDOM])
    return Progress(place["epoch"], place["step"], float(tensors["loss_sum"]))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


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
