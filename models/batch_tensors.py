"""A batch's arrays as tensors, where the model is."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torchtowers.data.batches import Batch

__all__ = ["device_of", "of_pairs", "to_tensor", "to_tensors"]


def device_of(model: nn.Module) -> torch.device:
    """Give the device of a model's parameters; of the first one, if they are on several, the CPU if none."""
    for parameter in model.parameters():
        return parameter.device
    return torch.device("cpu")


def to_tensor(array: NDArray[Any], device: torch.device | None = None) -> Tensor:
    """Give an array as a tensor, on the CPU such that shares its memory."""
    return torch.as_tensor(array, device=device)


def to_tensors(features: Mapping[str, NDArray[Any]], device: torch.device | None = None) -> dict[str, Tensor]:
    """Give encoded features as tensors, on the CPU such that share their memory."""
    return {name: to_tensor(array, device) for name, array in features.items()}


def of_pairs(batch: Batch, device: torch.device | None = None) -> dict[str, Tensor | None]:
    """Give what the retrieval task is told of a batch's pairs beside their embeddings, by its argument."""
    arrays = {
        "candidate_sampling_probability": batch.probability,
        "candidate_ids": batch.items,
        "query_ids": batch.users,
    }
    return {name: None if array is None else to_tensor(array, device) for name, array in arrays.items()}
