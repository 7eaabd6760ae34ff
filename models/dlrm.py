"""DLRM: dot products of embedded features."""

from collections.abc import Mapping, Sequence

from torch import nn

from torchtowers.models.dot_interaction import DotInteraction
from torchtowers.models.embed_reduce import Combiner
from torchtowers.models.mlp import MLP
from torchtowers.models.ranking import Ranking
from torchtowers.models.ranking_model import RankingModel, check_takes_scores
from torchtowers.models.stacked_embedding import StackedEmbedding

__all__ = ["build_dlrm"]

# Numbers that a processor takes at once. The products with the 367 columns of 26 features and 13 dense ones
# take 1.4 times as long as those with 368.
_ALIGNMENT = 16


def build_dlrm(
    sizes: Mapping[str, int],
    *,
    dense_dim: int = 0,
    dense: str = "dense",
    embedding_dim: int = 16,
    bottom_hidden: Sequence[int] = (256, 64),
    top_hidden: Sequence[int] = (512, 256),
    combiner: Combiner = "mean",
    self_interaction: bool = False,
    concat_dense: bool = True,
    activation: nn.Module | None = None,
    task: Ranking | None = None,
) -> RankingModel:
    """Build a DLRM (Naumov et al. 2019, https://arxiv.org/abs/1906.00091) with the widths of TFRS.

    Columns of zeros, whose weights stay as they are, fill the top layers' input up to a multiple of 16.

    Args:
        sizes: By categorical feature, the rows of its table: its encoder's `size`.
        dense_dim: Number of dense features; 0 if there are none.
        dense: The name that they come under, float `[batch, dense_dim]`.
        embedding_dim: Width of the tables and of what the dense features become.
        bottom_hidden: Widths of the layers between the dense features and that.
        top_hidden: Widths of the layers between the dot products and the score.
        combiner: Of features that are lists.
        self_interaction: Whether each feature is multiplied with itself as well.
        concat_dense: Whether the top layers see the dense features beside the dot products.
        activation: From the score to the prediction. If not given, the sigmoid where the task is
            cross-entropy of logits, and none elsewhere.
        task: Takes labels and scores; cross-entropy of logits if not given. For ratings
            `Ranking(MeanSquaredError())`.

    Raises:
        ValueError: A number is out of range, the only feature has none to interact with, or the task takes
            probabilities.

    Example:
        >>> model = build_dlrm({"user": 943, "item": 1682}, dense_dim=3)
        >>> features = {"user": torch.tensor([7]), "item": torch.tensor([9]), "dense": torch.rand(1, 3)}
        >>> model(features).shape
        torch.Size([1])
    """
    check_takes_scores(task)
    bottom = MLP(dense_dim, [*bottom_hidden, embedding_dim], final_activation=nn.ReLU) if dense_dim else None
    count = len(sizes) + (1 if dense_dim else 0)
    width = count * (count + 1) // 2 if self_interaction else count * (count - 1) // 2
    if dense_dim and concat_dense:
        width += embedding_dim
    if width == 0:
        raise ValueError(
            f"a dot product needs two features, got only {', '.join(sizes) or 'none'}: "
            "add one, or self_interaction"
        )
    padding = -width % _ALIGNMENT
    return RankingModel(
        StackedEmbedding(sizes, embedding_dim, combiner=combiner),
        DotInteraction(self_interaction=self_interaction),
        MLP(width + padding, [*top_hidden, 1]),
        bottom=bottom,
        dense=dense,
        concat_dense=concat_dense,
        padding=padding,
        activation=activation,
        task=task,
    )
