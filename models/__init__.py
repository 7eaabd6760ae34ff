"""Towers, tasks, layers, losses, metrics, indexes, optimizers, training and evaluation."""

from torchtowers.models.baseline_ease import fit_ease
from torchtowers.models.baseline_item_knn import fit_item_knn
from torchtowers.models.baseline_matrix_factorization import fit_implicit_als
from torchtowers.models.baseline_popularity import popularity_scorer
from torchtowers.models.bias_model import BiasModel, choose_biases, fit_biases
from torchtowers.models.brute_force import BruteForce
from torchtowers.models.calibration import Calibration
from torchtowers.models.calibration_curve import calibration_curve
from torchtowers.models.callbacks import Callback, EarlyStopping
from torchtowers.models.catalogue_metrics import CatalogueMetrics
from torchtowers.models.catalogue_softmax import catalogue_softmax
from torchtowers.models.clippy_adagrad import ClippyAdagrad, shrink_by_references
from torchtowers.models.composite_optimizer import CompositeOptimizer
from torchtowers.models.config import RunConfig, load_config, parse_config
from torchtowers.models.coverage import CatalogueCoverage
from torchtowers.models.cross import Cross
from torchtowers.models.cross_batch_memory import CrossBatchMemory
from torchtowers.models.dcn import CrossNetwork, build_dcn
from torchtowers.models.dlrm import build_dlrm
from torchtowers.models.dot_interaction import DotInteraction
from torchtowers.models.embed_reduce import EmbedReduce
from torchtowers.models.embeddings import ListEmbedding, TokenEmbedding, WeightedListEmbedding
from torchtowers.models.errors import ConfigError, RunError, TrainingError
from torchtowers.models.evaluation import evaluate, evaluate_retrieval, model_scorer
from torchtowers.models.experiment import Trained, evaluate_run, open_run, train
from torchtowers.models.factorized_top_k import FactorizedTopK
from torchtowers.models.faiss_index import Faiss
from torchtowers.models.feature_cross import FeatureCross
from torchtowers.models.feature_embedding import FeatureEmbedding, build_feature_embedding, share_tables
from torchtowers.models.frequency import StreamingFrequency
from torchtowers.models.gru import GRUEncoder
from torchtowers.models.id_tower import IdTower
from torchtowers.models.in_batch_softmax import in_batch_softmax
from torchtowers.models.index import ExactIndex, Index, TopK
from torchtowers.models.later_evaluation import evaluate_on
from torchtowers.models.lazy_adam import LazyAdam
from torchtowers.models.listwise_losses import ListMLELoss, list_mle_loss
from torchtowers.models.losses import (
    correct_sampling,
    mine_hard_negatives,
    remove_accidental_hits,
    remove_duplicate_queries,
)
from torchtowers.models.matrix_factorization import (
    FactorTower,
    MatrixFactorization,
    build_matrix_factorization,
)
from torchtowers.models.mixed_negatives import MixedNegatives, mixed_probability
from torchtowers.models.mlp import MLP
from torchtowers.models.multi_layer_dcn import MultiLayerDCN
from torchtowers.models.multi_task import MultiTask, build_multi_task
from torchtowers.models.normalized_entropy import NormalizedEntropy
from torchtowers.models.optimizers import build_optimizer
from torchtowers.models.pairwise_losses import (
    PairwiseHingeLoss,
    PairwiseLogisticLoss,
    PairwiseMeanSquaredError,
    PairwiseSoftZeroOneLoss,
    pairwise_hinge_loss,
    pairwise_logistic_loss,
    pairwise_mean_squared_error,
    pairwise_soft_zero_one_loss,
)
from torchtowers.models.per_user_auc import PerUserAUC
from torchtowers.models.pointwise_losses import (
    BinaryCrossentropy,
    MeanSquaredError,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    mean_squared_error,
)
from torchtowers.models.popularity_bias import PopularityBias
from torchtowers.models.ranker import Ranker, build_ranker
from torchtowers.models.ranking import Ranking
from torchtowers.models.ranking_evaluation import evaluate_ranking
from torchtowers.models.ranking_metrics import (
    DCG,
    NDCG,
    MeanAveragePrecision,
    MeanReciprocalRank,
    PrecisionAtK,
    RecallAtK,
)
from torchtowers.models.ranking_model import RankingModel
from torchtowers.models.rated_clicks import ClickLine, RatedClickLoss
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.row_wise_adagrad import RowWiseAdagrad
from torchtowers.models.run import Run
from torchtowers.models.sampled_losses import (
    BPR,
    CosineContrastive,
    SampledSoftmax,
    bpr,
    cosine_contrastive,
    sampled_softmax,
)
from torchtowers.models.schedules import warmup_and_decay
from torchtowers.models.self_attention import SelfAttentiveEncoder
from torchtowers.models.sequential_two_tower import (
    HistoryTower,
    SequentialTwoTower,
    build_gru4rec,
    build_sasrec,
)
from torchtowers.models.sparse_adagrad import SparseAdagrad
from torchtowers.models.stacked_embedding import StackedEmbedding
from torchtowers.models.streaming import Streaming
from torchtowers.models.towers import Tower
from torchtowers.models.trainable import BatchSource, Trainable
from torchtowers.models.training import fit
from torchtowers.models.training_config import EarlyStoppingConfig, TrainingConfig
from torchtowers.models.tuning import Tuned, tune
from torchtowers.models.two_tower import TwoTower, build_tower, build_two_tower
from torchtowers.models.unified_embedding import UnifiedEmbedding
from torchtowers.models.weights import load_weights, weights_of

__all__ = [
    "BPR",
    "DCG",
    "MLP",
    "NDCG",
    "BatchSource",
    "BiasModel",
    "BinaryCrossentropy",
    "BruteForce",
    "Calibration",
    "Callback",
    "CatalogueCoverage",
    "CatalogueMetrics",
    "ClickLine",
    "ClippyAdagrad",
    "CompositeOptimizer",
    "ConfigError",
    "CosineContrastive",
    "Cross",
    "CrossBatchMemory",
    "CrossNetwork",
    "DotInteraction",
    "EarlyStopping",
    "EarlyStoppingConfig",
    "EmbedReduce",
    "ExactIndex",
    "FactorTower",
    "FactorizedTopK",
    "Faiss",
    "FeatureCross",
    "FeatureEmbedding",
    "GRUEncoder",
    "HistoryTower",
    "IdTower",
    "Index",
    "LazyAdam",
    "ListEmbedding",
    "ListMLELoss",
    "MatrixFactorization",
    "MeanAveragePrecision",
    "MeanReciprocalRank",
    "MeanSquaredError",
    "MixedNegatives",
    "MultiLayerDCN",
    "MultiTask",
    "NormalizedEntropy",
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "PairwiseMeanSquaredError",
    "PairwiseSoftZeroOneLoss",
    "PerUserAUC",
    "PopularityBias",
    "PrecisionAtK",
    "Ranker",
    "Ranking",
    "RankingModel",
    "RatedClickLoss",
    "RecallAtK",
    "Retrieval",
    "RowWiseAdagrad",
    "Run",
    "RunConfig",
    "RunError",
    "SampledSoftmax",
    "SelfAttentiveEncoder",
    "SequentialTwoTower",
    "SparseAdagrad",
    "StackedEmbedding",
    "Streaming",
    "StreamingFrequency",
    "TokenEmbedding",
    "TopK",
    "Tower",
    "Trainable",
    "Trained",
    "TrainingConfig",
    "TrainingError",
    "Tuned",
    "TwoTower",
    "UnifiedEmbedding",
    "WeightedListEmbedding",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "bpr",
    "build_dcn",
    "build_dlrm",
    "build_feature_embedding",
    "build_gru4rec",
    "build_matrix_factorization",
    "build_multi_task",
    "build_optimizer",
    "build_ranker",
    "build_sasrec",
    "build_tower",
    "build_two_tower",
    "calibration_curve",
    "catalogue_softmax",
    "choose_biases",
    "correct_sampling",
    "cosine_contrastive",
    "evaluate",
    "evaluate_on",
    "evaluate_ranking",
    "evaluate_retrieval",
    "evaluate_run",
    "fit",
    "fit_biases",
    "fit_ease",
    "fit_implicit_als",
    "fit_item_knn",
    "in_batch_softmax",
    "list_mle_loss",
    "load_config",
    "load_weights",
    "mean_squared_error",
    "mine_hard_negatives",
    "mixed_probability",
    "model_scorer",
    "open_run",
    "pairwise_hinge_loss",
    "pairwise_logistic_loss",
    "pairwise_mean_squared_error",
    "pairwise_soft_zero_one_loss",
    "parse_config",
    "popularity_scorer",
    "remove_accidental_hits",
    "remove_duplicate_queries",
    "sampled_softmax",
    "share_tables",
    "shrink_by_references",
    "train",
    "tune",
    "warmup_and_decay",
    "weights_of",
]
