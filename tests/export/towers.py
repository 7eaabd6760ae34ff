"""Both towers of a trained model, and their inputs, for the tests of exporters."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchtowers.data.features import EntityTable
from torchtowers.handlers.encoders import Encoder
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.experiment import Trained

SIDES = ("query", "candidate")


def side_of(trained: Trained, side: str) -> tuple[nn.Module, EntityTable]:
    """Give one tower in evaluation mode and the table that it embeds."""
    model = trained.towers.eval()
    if side == "query":
        return model.query_tower, trained.dataset.users
    return model.candidate_tower, trained.dataset.items


def inputs_of(encoders: dict[str, Encoder], batch: int, length: int) -> dict[str, NDArray[np.int64]]:
    """Draw indices of all kinds; lists are of one length, also above what the encoder gives."""
    generator = np.random.default_rng(batch * 100 + length)
    return {
        name: generator.integers(0, encoder.size, (batch, length) if encoder.is_list else batch)
        for name, encoder in encoders.items()
    }


def embed(tower: nn.Module, inputs: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    """Give what the eager tower makes of the inputs."""
    with torch.inference_mode():
        embeddings: NDArray[np.float32] = tower(to_tensors(inputs)).numpy()
    return embeddings
