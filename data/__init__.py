"""Reads data sets, splits them, and encodes their columns."""

from torchtowers.data.dataset import Dataset, Interactions, prepare
from torchtowers.data.errors import DataError
from torchtowers.data.movielens import load_movielens_100k
from torchtowers.data.tables import Tables

__all__ = ["DataError", "Dataset", "Interactions", "Tables", "load_movielens_100k", "prepare"]
