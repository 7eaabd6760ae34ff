"""What a configuration says of the model: one section for each kind."""

from typing import Annotated, Literal

from pydantic import Field

from torchtowers.data.section import Section

__all__ = [
    "ModelConfig",
    "MultiTaskConfig",
    "RankingConfig",
    "SequentialConfig",
    "TwoTowerConfig",
]

Rate = Field(default=0.0, ge=0, lt=1)
Widths = tuple[Annotated[int, Field(ge=1)], ...]


class _TowersConfig(Section):
    """What the towers of both kinds below share."""

    embedding_dim: int = Field(default=64, ge=1)
    query_hidden: Widths = ()
    candidate_hidden: Widths = ()
    dim: int = Field(default=64, ge=1)
    pooling: Literal["mean", "sqrtn"] = "mean"
    dropout: float = Rate
    unknown_rate: float = Rate
    history_dropout: float = Rate
    empty_history_rate: float = Rate
    normalize: bool = True
    temperature: float = Field(default=1.0, gt=0)
    remove_accidental_hits: bool = True
    remove_duplicate_queries: bool = False


class TwoTowerConfig(_TowersConfig):
    """The two towers; see `models.two_tower.build_two_tower` for each setting that is not here.

    Args:
        examples: `pairs`: each interaction is to be found among those of its batch. `hidden_items`: a part of
            a user's items is hidden from the history and to be found in the whole catalogue; batches are of
            users. None takes `hidden_items` where there is a history and the user's id is no feature.
        hidden_part: The smallest and the largest part of a user's items that is hidden.
        candidates: Up to so many items compete all at once for hidden items; of a larger catalogue so many
            are sampled for each batch.
        embedding_dim: None follows from the number of interactions, see `models.defaults`.
        dim: Likewise.
        candidate_dropout: Of the candidate tower; None is as `dropout`.
    """

    kind: Literal["two_tower"] = "two_tower"
    examples: Literal["pairs", "hidden_items"] | None = None
    hidden_part: tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]] = (0.05, 0.5)
    candidates: int = Field(default=8192, ge=1)
    embedding_dim: int | None = Field(default=None, ge=1)  # type: ignore[assignment]
    dim: int | None = Field(default=None, ge=1)  # type: ignore[assignment]
    candidate_dropout: float | None = Field(default=None, ge=0, lt=1)
    item_bias: bool = True


class MultiTaskConfig(_TowersConfig):
    """Two towers that also predict the rating; see `models.multi_task.build_multi_task`.

    Args:
        rating_hidden: Widths of the layers from both embeddings to the rating.
        retrieval_weight: Of the retrieval loss.
        rating_weight: Of the rating's mean squared error.
    """

    kind: Literal["multi_task"] = "multi_task"
    rating_hidden: Widths = (256, 128)
    retrieval_weight: float = Field(default=1.0, ge=0)
    rating_weight: float = Field(default=1.0, ge=0)


class SequentialConfig(Section):
    """A query tower over the history's order; see `models.sequential_two_tower`.

    Args:
        encoder: `gru` (GRU4Rec) or `self_attention` (SASRec).
        dim: Width of the item table, and dimension of the embeddings.
        hidden: Units of a GRU layer.
        layers: GRU layers, or blocks of self-attention.
        heads: Of each attention.
        dropout: In training, of embeddings, states and attention weights.
        pooled: Whether the sum of a second table's rows is added to the state.
        shared: Whether one table is the encoder's input and the candidates' too.
        normalize: Whether scores are cosines, plus the bias.
        item_bias: Whether each item has a bias of its own.
        temperature: Divides the scores in the loss.
        mask_seen: Whether what a user had before is no negative; None does so where no user has an item
            twice.
        candidates: Up to so many items are negatives all at once; of a larger catalogue so many are sampled
            for each batch.
    """

    kind: Literal["sequential"] = "sequential"
    encoder: Literal["gru", "self_attention"] = "gru"
    pooled: bool = False
    shared: bool = True
    normalize: bool = False
    item_bias: bool = False
    temperature: float = Field(default=1.0, gt=0)
    mask_seen: bool | None = None
    candidates: int = Field(default=8192, ge=1)
    dim: int = Field(default=64, ge=1)
    hidden: int = Field(default=128, ge=1)
    layers: int = Field(default=1, ge=1)
    heads: int = Field(default=1, ge=1)
    dropout: float = Rate


class RankingConfig(Section):
    """A model that scores a user, an item and their context together; see `models.ranker.build_ranker`.

    Args:
        interaction: How features meet: `dcn` (DCN-v2), `dlrm` or `wide_and_deep`.
        loss: `mean_squared_error` learns the label, `binary_crossentropy` its probability, `pairwise` and
            `listwise` the order of a user's items.
        positive_from: Labels from this on count as 1, others as 0; None takes them as they are. With
            `binary_crossentropy` the labels are learnt beside what is made of them.
        embedding_dim: Width of each feature's table; None follows from the number of interactions, see
            `models.ranking_defaults`.
        hidden: Widths of the hidden layers.
        cross_layers: Of DCN-v2.
        dropout: In training, of the embeddings and of hidden layers.
        unknown_rate: In training, how often an id is taken for unknown.
        list_size: Items of a list, of a listwise or pairwise loss.
        crosses: Pairs of features of which each pair of values has a bias as well, as in Wide & Deep.
    """

    kind: Literal["ranking"] = "ranking"
    interaction: Literal["dcn", "dlrm", "wide_and_deep"] = "dcn"
    loss: Literal["mean_squared_error", "binary_crossentropy", "pairwise", "listwise"] = "mean_squared_error"
    positive_from: float | None = None
    embedding_dim: int | None = Field(default=None, ge=1)
    hidden: Widths = (256, 128)
    cross_layers: int = Field(default=2, ge=1)
    dropout: float = Rate
    unknown_rate: float = Rate
    list_size: int = Field(default=16, ge=2)
    crosses: tuple[tuple[str, str], ...] = ()


ModelConfig = Annotated[
    TwoTowerConfig | MultiTaskConfig | SequentialConfig | RankingConfig, Field(discriminator="kind")
]
