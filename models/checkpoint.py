"""What training needs to go on exactly where it was: one file of named tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchtowers.models.callbacks import Callback
from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.errors import RunError
from torchtowers.models.run import Run
from torchtowers.models.weights import load_weights, weights_of

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]

_MODEL = "model."
_OPTIMIZER = "optimizer."
_CALLBACK = "callback."
_NUMBER = "optimizer_number."
_RATE = "learning_rate."
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
    """Write the state of all parts.

    Raises:
        ValueError: An optimizer's state holds what is neither a tensor nor a number.
    """
    tensors = {_MODEL + name: tensor for name, tensor in weights_of(model).items()}
    for owner, part in enumerate(optimizer.state_dict()["optimizers"]):
        for index, values in part["state"].items():
            for key, value in values.items():
                tensors |= _packed(f"{owner}.{index}.{key}", value)
    for index, group in enumerate(optimizer.param_groups):
        tensors[f"{_RATE}{index}"] = torch.tensor(float(group["lr"]), dtype=torch.float64)
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
        "optimizers": _names(optimizer),
    }
    run.save_checkpoint(tensors, {name: str(value) for name, value in place.items()})


def load_checkpoint(
    run: Run, model: nn.Module, optimizer: CompositeOptimizer, callbacks: Sequence[Callback]
) -> Progress:
    """Take back what `save_checkpoint` wrote, and drop what history says of later epochs.

    Raises:
        RunError: There is no checkpoint, or it is damaged, or of another model or other optimizers.
    """
    tensors, place = run.load_checkpoint()
    try:
        load_weights(model, _below(tensors, _MODEL))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{run.checkpoint_path} is of another model: {reason}") from error
    began = place.get("optimizers")
    if began != _names(optimizer):
        raise RunError(f"{run.folder} was begun with {began}: resume it with that, not {_names(optimizer)}")
    run.cut_history(int(place["epoch"]))
    state = optimizer.state_dict()
    for owner, part in enumerate(state["optimizers"]):
        of_parameters: dict[int, dict[str, Tensor | float]] = {}
        for prefix in (_OPTIMIZER, _NUMBER):
            for name, tensor in _below(tensors, f"{prefix}{owner}.").items():
                index, key = name.split(".", 1)
                value = tensor if prefix == _OPTIMIZER else tensor.item()
                of_parameters.setdefault(int(index), {})[key] = value
        part["state"] = of_parameters
    optimizer.load_state_dict(state | {"iterations": int(place["iterations"])})
    _load_rates(optimizer, _below(tensors, _RATE))
    for owner, callback in enumerate(callbacks):
        numbers = _below(tensors, f"{_CALLBACK}{owner}.")
        if numbers:
            callback.load_state({key: float(number) for key, number in numbers.items()})
    torch.set_rng_state(tensors[_RANDOM])
    if torch.cuda.is_available() and _CUDA_RANDOM in tensors:
        torch.cuda.set_rng_state(tensors[_CUDA_RANDOM])
    return Progress(
        int(place["epoch"]), int(place["step"]), float(tensors["loss_sum"]), bool(int(place["stopped"]))
    )


def _packed(name: str, value: object) -> dict[str, Tensor]:
    """Give a part of an optimizer's state as a tensor; a number is told from a tensor by its name."""
    if isinstance(value, Tensor):
        return {_OPTIMIZER + name: value}
    if isinstance(value, int):
        return {_NUMBER + name: torch.tensor(value)}
    if isinstance(value, float):
        return {_NUMBER + name: torch.tensor(value, dtype=torch.float64)}
    raise ValueError(
        f"the optimizer's state holds {type(value).__name__} in {name}, and a checkpoint takes tensors and "
        "numbers: use another optimizer"
    )


def _load_rates(optimizer: CompositeOptimizer, rates: dict[str, Tensor]) -> None:
    """Set the learning rates, which a callback may have changed."""
    for index, group in enumerate(optimizer.param_groups):
        group.setdefault("initial_lr", group["lr"])  # what a schedule multiplies
        rate = rates[str(index)].item()
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _names(optimizer: CompositeOptimizer) -> str:
    """Tell optimizers from others: `LazyAdam of 2 parameters, AdamW of 4 + 1 parameters`."""
    counts = [[str(len(group["params"])) for group in each.param_groups] for each in optimizer.optimizers]
    named = zip(optimizer.optimizers, counts, strict=True)
    return ", ".join(f"{type(each).__name__} of {' + '.join(count)} parameters" for each, count in named)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
