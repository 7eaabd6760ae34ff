"""What training needs to go on exactly where it was: one file of named tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchtowers.models.callbacks import Callback
from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.run import Run
from torchtowers.models.weights import load_weights, weights_of

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]

_MODEL = "model."
_OPTIMIZER = "optimizer."
_CALLBACK = "callback."
_RANDOM = "random_state"
_CUDA_RANDOM = "cuda_random_state"


@dataclass
class Progress:
    """Where training stands.

    Args:
        epoch: Epochs that are complete.
        step: Batches of the current epoch that are complete.
        loss_sum: Of these batches.
        stopped: Whether a callback has ended training.
        interrupted: Whether training was asked to stop before its end.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    stopped: bool = False
    interrupted: bool = False


def save_checkpoint(
    run: Run,
    model: nn.Module,
    optimizer: CompositeOptimizer,
    callbacks: Sequence[Callback],
    progress: Progress,
) -> None:
    """Write the state of all parts."""
    tensors = {_MODEL + name: tensor for name, tensor in weights_of(model).items()}
    for owner, part in enumerate(optimizer.state_dict()["optimizers"]):
        for index, values in part["state"].items():
            tensors |= {f"{_OPTIMIZER}{owner}.{index}.{key}": value for key, value in values.items()}
    for owner, callback in enumerate(callbacks):
        for key, number in callback.state().items():
            tensors[f"{_CALLBACK}{owner}.{key}"] = torch.tensor(number, dtype=torch.float64)
    tensors[_RANDOM] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors[_CUDA_RANDOM] = torch.cuda.get_rng_state()
    tensors["loss_sum"] = torch.tensor(progress.loss_sum, dtype=torch.float64)
    place = {
        "epoch": progress.epoch,
        "step": progress.step,
        "stopped": int(progress.stopped),
        "iterations": optimizer.iterations,
    }
    run.save_checkpoint(tensors, place)


def load_checkpoint(
    run: Run, model: nn.Module, optimizer: CompositeOptimizer, callbacks: Sequence[Callback]
) -> Progress:
    """Take back what `save_checkpoint` wrote, and drop what history says of later epochs.

    Raises:
        RunError: There is no checkpoint, or it is damaged.
    """
    tensors, place = run.load_checkpoint()
    run.cut_history(place["epoch"])
    load_weights(model, _below(tensors, _MODEL))
    state = optimizer.state_dict()
    for owner, part in enumerate(state["optimizers"]):
        of_parameters: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(tensors, f"{_OPTIMIZER}{owner}.").items():
            index, key = name.split(".")
            of_parameters.setdefault(int(index), {})[key] = tensor
        part["state"] = of_parameters
    optimizer.load_state_dict(state | {"iterations": place["iterations"]})
    for owner, callback in enumerate(callbacks):
        numbers = _below(tensors, f"{_CALLBACK}{owner}.")
        if numbers:
            callback.load_state({key: float(number) for key, number in numbers.items()})
    torch.set_rng_state(tensors[_RANDOM])
    if torch.cuda.is_available() and _CUDA_RANDOM in tensors:
        torch.cuda.set_rng_state(tensors[_CUDA_RANDOM])
    return Progress(place["epoch"], place["step"], float(tensors["loss_sum"]), bool(place["stopped"]))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
