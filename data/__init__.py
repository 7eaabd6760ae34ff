"""Reads data sets, splits them, encodes their columns, and makes batches of them."""

from torchtowers.data.batches import Batch, Batches
from torchtowers.data.column_batches import ColumnBatches, PairBatches, RankingBatches, RatedBatches
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.describe import Description, describe
from torchtowers.data.errors import DataError
from torchtowers.data.example_batches import ExampleBatches, ListBatches, RatedPairs
from torchtowers.data.hidden_item_batches import HiddenItemBatch, HiddenItemBatches
from torchtowers.data.interactions import Interactions
from torchtowers.data.listwise import Lists, sample_listwise
from torchtowers.data.movielens import load_movielens_100k
from torchtowers.data.ragged import Ragged
from torchtowers.data.ranking_batch import RankingBatch, RatedBatch
from torchtowers.data.sequence_batches import SequenceBatch, SequenceBatches
from torchtowers.data.shuffled_batches import ShuffledBatches
from torchtowers.data.synthetic import make_shop, write_shop
from torchtowers.data.tables import Tables

__all__ = [
    "Batch",
    "Batches",
    "ColumnBatches",
    "DataError",
    "Dataset",
    "Description",
    "ExampleBatches",
    "HiddenItemBatch",
    "HiddenItemBatches",
    "Interactions",
    "ListBatches",
    "Lists",
    "PairBatches",
    "Ragged",
    "RankingBatch",
    "RankingBatches",
    "RatedBatch",
    "RatedBatches",
    "RatedPairs",
    "SequenceBatch",
    "SequenceBatches",
    "ShuffledBatches",
    "Tables",
    "describe",
    "load_movielens_100k",
    "make_shop",
    "prepare",
    "sample_listwise",
    "write_shop",
]
