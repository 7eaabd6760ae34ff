"""Data sets by name: fetched once, then read from the user's cache."""

from collections.abc import Callable

from torchtowers.data.fetch import fetch
from torchtowers.data.movielens import load_movielens_100k
from torchtowers.data.tables import Tables

__all__ = ["load_tables"]

_LOADERS = {"movielens-100k": load_movielens_100k}


def load_tables(name: str, log: Callable[[str], None]) -> Tables:
    """Read a named data set, fetching it where it is not in the cache yet.

    Raises:
        DataError: The name is unknown, the data can't be fetched, or what was fetched can't be used.
    """
    folder = fetch(name, log=log)
    return _LOADERS[name](folder)
