"""What training asks of a model and of its batches, and the first look at both."""

from collections.abc import Iterator
from typing import Any, Protocol, cast

from torch import Tensor, nn

__all__ = ["BatchSource", "Trainable", "check_trainable", "loss_value"]


class Trainable(Protocol):
    """What a model has to be, besides a module."""

    def compute_loss(self, batch: Any) -> Tensor:
        """Give the loss of a batch, a scalar; the batch's arrays go to the model's own device here."""


class BatchSource(Protocol):
    """Where batches come from.

    Over columns in memory there are `torchtowers.data`'s `RankingBatches`, `RatedBatches`, `PairBatches`,
    `ColumnBatches`; of a data set `Batches`; of histories `SequenceBatches`. Their base, `ShuffledBatches`,
    makes a source of a function from rows to a batch. A batch is whatever the model's `compute_loss` takes.

    Example:
        >>> class Lines:
        ...     batch_size = 2
        ...     def __len__(self):
        ...         return 3
        ...     def epoch(self, number, first=0):
        ...         # Of the epoch's own generator: a resumed training asks for the same batches again.
        ...         order = torch.randperm(6, generator=torch.Generator().manual_seed(number))
        ...         yield from order.view(3, 2)[first:]
        >>> source: BatchSource = Lines()
        >>> torch.equal(next(source.epoch(4, first=2)), list(source.epoch(4))[2])
        True
    """

    @property
    def batch_size(self) -> int:
        """Examples a batch."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, number: int, first: int = 0) -> Iterator[Any]:
        """Give an epoch's batches, from batch `first` on; the same ones at each call."""


def check_trainable(model: nn.Module, batches: BatchSource) -> Trainable:
    """Refuse what can't be trained, or trained on.

    Raises:
        TypeError: The model has no `compute_loss`, or the batches are no `BatchSource`.
        ValueError: An epoch has no batch.
    """
    if not callable(getattr(model, "compute_loss", None)):
        raise TypeError(
            f"{type(model).__name__} has no compute_loss(batch), which gives a batch's loss: add it"
        )
    missing = [name for name in ("batch_size", "__len__", "epoch") if not hasattr(batches, name)]
    if missing:
        raise TypeError(
            f"batches is a {type(batches).__name__}, which has no {' and no '.join(missing)}. Training asks "
            "for epoch(number, first), an epoch's batches from one on and the same ones at each call, so "
            "that it can be resumed exactly: give one of torchtowers.data, such as ColumnBatches or "
            "RankingBatches, or what torchtowers.models.BatchSource shows"
        )
    if len(batches) < 1:
        raise ValueError("batches gives no batch an epoch: its len() is 0")
    return cast(Trainable, model)


def loss_value(loss: object) -> float:
    """Give a loss as a number.

    Raises:
        ValueError: It is none.
    """
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss.item()
    came = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
    raise ValueError(
        f"compute_loss has to give a scalar tensor, got one of {came}: let the task's loss reduce "
        '(reduction="mean" or "sum"), or average it'
    )
