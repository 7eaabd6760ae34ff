"""What a configuration says of training: epochs, optimizers, early stopping, device."""

from typing import Any, Literal

from pydantic import Field, model_validator

from torchtowers.data.section import Section
from torchtowers.models.optimizers import EmbeddingOptimizer

__all__ = ["EarlyStoppingConfig", "TrainingConfig"]


class EarlyStoppingConfig(Section):
    """When training ends before its last epoch; the run then has the best epoch's weights.

    Args:
        metric: A figure of history.jsonl, such as `validation/top_100_accuracy`, or `loss`. With a model of
            your own: `loss`, or a figure that a callback adds. None takes the one that fits the model's kind.
        patience: Epochs in which it has not become better, after which training ends.
        mode: Whether larger (`max`) or smaller (`min`) is better; smaller, if not given, for `loss` only.
    """

    metric: str | None = None
    patience: int = Field(default=3, ge=1)
    mode: Literal["max", "min"] = "max"

    @model_validator(mode="before")
    @classmethod
    def _of_loss(cls, content: Any) -> Any:
        # Without it, the epoch with the largest loss would be kept.
        if isinstance(content, dict) and content.get("metric") == "loss":
            return {"mode": "min", **content}
        return content

    @model_validator(mode="after")
    def _sensible(self) -> "EarlyStoppingConfig":
        if self.metric == "loss" and self.mode == "max":
            raise ValueError("a larger loss is not better: mode min")
        return self


class TrainingConfig(Section):
    """How the model is fitted.

    `fit` takes a model and batches that are made already: `batch_size` and `seed` are for who makes them.

    Args:
        epochs: Passes over the training pairs.
        batch_size: Pairs a step; each pair's negatives are the other items of its batch. Of hidden items it
            is users a step, by default an eighth of them, see `models.defaults`; of sequences, windows; of
            ranking, examples, by default at most a 64th of them.
        accumulate: Batches a step; their gradients are averaged, also over fewer at an epoch's end.
        embedding_optimizer: Of the tables; changes only the rows a batch names. `lazy_adam`, or with less
            state `sparse_adagrad` (one value an element) or `row_wise_adagrad` (one value a row).
        embedding_learning_rate: Of the tables.
        dense_learning_rate: Of the layers, by AdamW.
        weight_decay: Of the layers.
        warmup: Part of the steps over which the learning rates rise from 0.
        final_learning_rate: Part of the learning rates that is left after the last step; they fall linearly.
        max_gradient_norm: Larger gradients, all parameters' taken together, are scaled to this norm; None
            leaves them as they are.
        early_stopping: Ends training when a figure no longer becomes better; None goes through all epochs.
        refit: Whether a new model is then trained on training and validation part together, for as many
            epochs as were best on the validation part.
        device: `cpu`, or `cuda` for the current GPU.
        precision: `float32`, or `bf16` for bfloat16 where torch's autocast takes it for safe; weights stay
            float32. Meant for GPUs; few CPUs are faster with it.
        compile: Whether torch.compile translates the computation of the loss, which takes a while at the
            beginning, and needs a C++ compiler on the CPU. Table lookups stay as they are.
        seed: Of initial values, shuffles and dropout; two runs with one seed and as many threads are equal.
        threads: Of torch's operations on the CPU; None leaves it to torch, which takes every core.
    """

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=1024, ge=2)
    accumulate: int = Field(default=1, ge=1)
    embedding_optimizer: EmbeddingOptimizer = "lazy_adam"
    embedding_learning_rate: float = Field(default=0.01, gt=0)
    dense_learning_rate: float = Field(default=0.001, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    warmup: float = Field(default=0.0, ge=0, lt=1)
    final_learning_rate: float = Field(default=1.0, ge=0, le=1)
    max_gradient_norm: float | None = Field(default=None, gt=0)
    early_stopping: EarlyStoppingConfig | None = None
    refit: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bf16"] = "float32"
    compile: bool = False
    seed: int = Field(default=1, ge=0, lt=2**63)
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _refits_what_was_chosen(self) -> "TrainingConfig":
        if self.refit and self.early_stopping is None:
            raise ValueError("refit needs early_stopping, which chooses the number of epochs")
        return self
