"""Every public layer, tower, task and loss, each with what it is called with."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torchtowers.handlers.encoders import BucketEncoder, Encoder, TokenEncoder, TokenListEncoder, Vocabulary
from torchtowers.models.cross import Cross
from torchtowers.models.dcn import CrossNetwork, build_dcn
from torchtowers.models.dlrm import build_dlrm
from torchtowers.models.dot_interaction import DotInteraction
from torchtowers.models.embed_reduce import EmbedReduce
from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding, WeightedListEmbedding
from torchtowers.models.feature_cross import FeatureCross
from torchtowers.models.feature_embedding import FeatureEmbedding
from torchtowers.models.gru import GRUEncoder
from torchtowers.models.id_tower import IdTower
from torchtowers.models.listwise_losses import ListMLELoss
from torchtowers.models.matrix_factorization import build_matrix_factorization
from torchtowers.models.mlp import MLP
from torchtowers.models.multi_layer_dcn import MultiLayerDCN
from torchtowers.models.multi_task import build_multi_task
from torchtowers.models.pairwise_losses import (
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
    PairwiseMeanSquaredError,
    PairwiseSoftZeroOneLoss,
)
from torchtowers.models.pointwise_losses import BinaryCrossentropy, MeanSquaredError
from torchtowers.models.ranker import build_ranker
from torchtowers.models.ranking import Ranking
from torchtowers.models.rated_clicks import ClickLine, RatedClickLoss
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.sampled_losses import BPR, CosineContrastive, SampledSoftmax
from torchtowers.models.self_attention import SelfAttentiveEncoder
from torchtowers.models.sequential_two_tower import build_gru4rec, build_sasrec
from torchtowers.models.stacked_embedding import StackedEmbedding
from torchtowers.models.two_tower import build_two_tower
from torchtowers.models.unified_embedding import UnifiedEmbedding

__all__ = ["EXPORTABLE", "NOT_EXPORTED", "VARIANTS", "Inputs"]

Inputs = Callable[[int], list[Any]]
Entry = tuple[Callable[[], nn.Module], Inputs]

VOCABULARY = Vocabulary([f"t{number}" for number in range(7)])
ENCODERS: dict[str, Encoder] = {
    "id": TokenEncoder(VOCABULARY),
    "age": BucketEncoder([20, 40]),
    "history": TokenListEncoder(VOCABULARY, 5),
}


def dense(batch: int) -> list[Any]:
    return [torch.randn(batch, 6)]


def dense_pair(batch: int) -> list[Any]:
    return [torch.randn(batch, 6), torch.randn(batch, 6)]


def dense_features(batch: int) -> list[Any]:
    return [[torch.randn(batch, 6) for _ in range(4)]]


def index(batch: int) -> list[Any]:
    return [torch.randint(0, 9, (batch,))]


def lists(batch: int) -> list[Any]:
    return [torch.randint(0, 9, (batch, 5))]


def weighted_lists(batch: int) -> list[Any]:
    return [*lists(batch), torch.rand(batch, 5)]


def features(batch: int) -> list[Any]:
    encoded = {
        "id": torch.randint(0, 9, (batch,)),
        "age": torch.randint(0, 4, (batch,)),
        "history": torch.randint(0, 9, (batch, 5)),
    }
    return [encoded]


def two_features(batch: int) -> list[Any]:
    return [*features(batch), *features(batch)]


def ids(batch: int) -> list[Any]:
    return [{"id": torch.randint(0, 9, (batch,))}]


def pairs(batch: int) -> list[Any]:
    return [{"user": torch.randint(0, 9, (batch,)), "item": torch.randint(0, 9, (batch,))}]


def histories(batch: int) -> list[Any]:
    return [{"history": torch.randint(0, 9, (batch, 5))}]


def ranked(batch: int) -> list[Any]:
    return [features(batch)[0] | {"dense": torch.randn(batch, 3)}]


def sequences(batch: int) -> list[Any]:
    return [torch.randn(batch, 5, 6), torch.rand(batch, 5) < 0.7]


def labelled_lists(batch: int) -> list[Any]:
    return [torch.randn(batch, 4), torch.randint(0, 3, (batch, 4)).float()]


def positive_and_negatives(batch: int) -> list[Any]:
    return [torch.rand(batch), torch.rand(batch, 4)]


def predictions(batch: int) -> list[Any]:
    return [torch.randint(0, 2, (batch,)).float(), torch.rand(batch)]


def retrieved(batch: int) -> list[Any]:
    weight, probability = torch.rand(batch), torch.rand(batch)
    return [*dense_pair(batch), weight, probability, torch.randint(0, 3, (batch,))]


def query(model: Any) -> nn.Module:
    tower: nn.Module = model.query_tower
    return tower


def candidate(model: Any) -> nn.Module:
    tower: nn.Module = model.candidate_tower
    return tower


def two_tower() -> nn.Module:
    return build_two_tower(ENCODERS, ENCODERS, query_key="id", candidate_key="id", query_hidden=[4], dim=6)


def multi_task() -> nn.Module:
    return build_multi_task(ENCODERS, ENCODERS, query_key="id", candidate_key="id", dim=6)


def factors() -> nn.Module:
    return build_matrix_factorization(9, 9, 4, query_key="user", candidate_key="item")


SIZES = {"id": 9, "age": 4, "history": 9}

# As TorchScript and as ONNX.
EXPORTABLE: dict[str, Entry] = {
    "BPR": (BPR, positive_and_negatives),
    "BiasedCandidateTower": (lambda: candidate(two_tower()), features),
    "BiasedQueryTower": (lambda: query(two_tower()), features),
    "BinaryCrossentropy": (BinaryCrossentropy, lambda batch: predictions(batch)[::-1]),
    "CosineContrastive": (CosineContrastive, positive_and_negatives),
    "ClickLine": (lambda: ClickLine(3.5, 1.1, 0.6), lambda batch: [torch.randn(batch)]),
    "Cross": (lambda: Cross(6, diag_scale=0.5, preactivation=nn.Tanh()), dense_pair),
    "CrossNetwork": (lambda: CrossNetwork(6, num_layers=2, deep=[5]), dense),
    "DotInteraction": (lambda: DotInteraction(self_interaction=True), dense_features),
    "EmbedReduce": (lambda: EmbedReduce(9, 4, combiner="sqrtn", padding_idx=0), weighted_lists),
    "FactorTower": (lambda: query(factors()), pairs),
    "FeatureEmbedding": (lambda: FeatureEmbedding("id", TokenEmbedding(9, 4)), features),
    "GRUEncoder": (lambda: GRUEncoder(6, hidden=4), sequences),
    "FeatureCross": (lambda: FeatureCross("id", "age", (9, 4), buckets=7), features),
    "HistoryTower": (
        lambda: query(build_sasrec(9, history="history", candidate_key="id", dim=6)),
        histories,
    ),
    "IdTower": (lambda: IdTower(TokenEmbedding(9, 4), key="id"), ids),
    "ListEmbedding": (lambda: ListEmbedding(9, 4, pooling="sqrtn"), lists),
    "ListMLELoss": (ListMLELoss, lambda batch: [*labelled_lists(batch), torch.rand(batch, 4) < 0.8]),
    "MLP": (lambda: MLP(6, [5, 2], final_activation=nn.Sigmoid), dense),
    "MatrixFactorization": (factors, pairs),
    "MeanSquaredError": (MeanSquaredError, predictions),
    "MultiLayerDCN": (lambda: MultiLayerDCN(6, projection_dim=2), dense),
    "MultiTask": (multi_task, two_features),
    "PairwiseHingeLoss": (PairwiseHingeLoss, labelled_lists),
    "PairwiseLogisticLoss": (PairwiseLogisticLoss, labelled_lists),
    "PairwiseMeanSquaredError": (PairwiseMeanSquaredError, labelled_lists),
    "PairwiseSoftZeroOneLoss": (PairwiseSoftZeroOneLoss, labelled_lists),
    "Ranker": (
        lambda: build_ranker(
            ENCODERS, loss=BinaryCrossentropy(from_logits=True), embedding_dim=4, crosses=[("id", "age")]
        ),
        features,
    ),
    "Ranking": (Ranking, predictions),
    "RankingModel": (lambda: build_dlrm(SIZES, dense_dim=3, embedding_dim=4, top_hidden=[5]), ranked),
    "RatedClickLoss": (
        lambda: RatedClickLoss(1, deviation=1.1, share=0.6),
        lambda batch: [torch.randn(batch), *reversed(predictions(batch))],
    ),
    "Retrieval": (
        lambda: Retrieval(temperature=0.5, remove_accidental_hits=True, reduction="none"),
        retrieved,
    ),
    "SampledSoftmax": (SampledSoftmax, positive_and_negatives),
    "SelfAttentiveEncoder": (lambda: SelfAttentiveEncoder(6, max_length=4), sequences),
    "StackedEmbedding": (lambda: StackedEmbedding(SIZES, 4), features),
    "TokenEmbedding": (lambda: TokenEmbedding(9, 4, unknown_rate=0.5), index),
    "Tower": (lambda: query(multi_task()), features),
    "UnifiedEmbedding": (
        lambda: UnifiedEmbedding({"history": 2, "id": 1}, buckets=11, dim=3, tables=2),
        features,
    ),
    "WeightedListEmbedding": (lambda: WeightedListEmbedding(9, 4, token_dropout=0.5), weighted_lists),
}
# Other settings, as TorchScript only, since ONNX takes seconds each.
VARIANTS: dict[str, Entry] = {
    "Cross, alone": (lambda: Cross(6), dense),
    "Cross, low rank": (lambda: Cross(6, projection_dim=2, use_bias=False), dense_pair),
    "DotInteraction, pairs": (DotInteraction, dense_features),
    "DotInteraction, skip_gather": (lambda: DotInteraction(skip_gather=True), dense_features),
    "EmbedReduce, mean": (lambda: EmbedReduce(9, 4), lists),
    "EmbedReduce, sum": (lambda: EmbedReduce(9, 4, combiner="sum"), weighted_lists),
    "EmbedReduce, index": (lambda: EmbedReduce(9, 4, padding_idx=0), index),
    "HistoryTower, GRU4Rec": (
        lambda: query(build_gru4rec(9, history="history", candidate_key="id", dim=6, hidden=4)),
        histories,
    ),
    "HistoryTower, pooled": (
        lambda: query(
            build_gru4rec(
                9,
                history="history",
                candidate_key="id",
                dim=6,
                hidden=4,
                pooled=True,
                normalize=True,
                item_bias=True,
            )
        ),
        histories,
    ),
    "IdTower, biased": (lambda: IdTower(TokenEmbedding(9, 4), key="id", normalize=True, bias=True), ids),
    "MLP, dropout": (lambda: MLP(6, [3, 2], dropout=0.5), dense),
    "MLP, linear": (lambda: MLP(6, [3], use_bias=False), dense),
    "Ranker, DLRM": (
        lambda: build_ranker(ENCODERS, loss=MeanSquaredError(), interaction="dlrm", embedding_dim=4),
        features,
    ),
    "Ranker, clicks of ratings": (
        lambda: build_ranker(
            ENCODERS, loss=RatedClickLoss(4, deviation=1.1, share=0.6), embedding_dim=4, offset=3.5, scale=1.1
        ),
        features,
    ),
    "Ranker, wide and deep": (
        lambda: build_ranker(ENCODERS, loss=ListMLELoss(), interaction="wide_and_deep", embedding_dim=4),
        features,
    ),
    "RankingModel, DCN": (
        lambda: build_dcn(SIZES, embedding_dim=4, deep_hidden=[5], parallel=True, projection_dim=2),
        features,
    ),
    "Retrieval, hard negatives": (lambda: Retrieval(num_hard_negatives=2), dense_pair),
    "Retrieval, mean": (lambda: Retrieval(reduction="mean"), dense_pair),
}
# Why they are not exported at all.
NOT_EXPORTED = {
    "CrossBatchMemory": "a queue that training fills",
    "ListLoss": "the base class of the losses over lists",
    "SequentialTwoTower": "its two towers are what is exported",
    "StreamingFrequency": "counts that training makes",
    "Table": "the base class of embeddings",
    "TwoTower": "its two towers are what is exported",
}
