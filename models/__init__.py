"""Towers, tasks, layers, training and evaluation."""

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.clippy_adagrad import ClippyAdagrad
from torchtowers.models.config import RunConfig, load_config
from torchtowers.models.cross import Cross
from torchtowers.models.dot_interaction import DotInteraction
from torchtowers.models.embed_reduce import EmbedReduce
from torchtowers.models.experiment import Trained, evaluate_run, open_run, train
from torchtowers.models.factorized_top_k import FactorizedTopK
from torchtowers.models.mlp import MLP
from torchtowers.models.multi_layer_dcn import MultiLayerDCN
from torchtowers.models.ranking import Ranking
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.run import Run
from torchtowers.models.streaming import Streaming
from torchtowers.models.towers import Tower
from torchtowers.models.two_tower import TwoTower, build_two_tower

__all__ = [
    "MLP",
    "BruteForce",
    "ClippyAdagrad",
    "Cross",
    "DotInteraction",
    "EmbedReduce",
    "FactorizedTopK",
    "MultiLayerDCN",
    "Ranking",
    "Retrieval",
    "Run",
    "RunConfig",
    "Streaming",
    "Tower",
    "Trained",
    "TwoTower",
    "build_two_tower",
    "evaluate_run",
    "load_config",
    "open_run",
    "train",
]
