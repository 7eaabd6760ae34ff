"""An artifact of as many items and users as are wanted: a small shop's towers, and a new index for them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from torchtowers.data import make_shop
from torchtowers.data.ragged import Ragged
from torchtowers.export import export_artifact, export_index
from torchtowers.handlers.lookup import FeatureLookup, LookupColumn
from torchtowers.handlers.signature import Signature, sha256_of
from torchtowers.handlers.tower_spec import TowerSpec
from torchtowers.handlers.vocabulary import Vocabulary
from torchtowers.models.config import parse_config
from torchtowers.models.experiment import train

__all__ = ["make_artifact", "make_small"]

_CONFIG = {
    "data": {"interactions": "given", "rating": "rating", "columns": ["title"]},
    "features": {
        "user": {"age": {"kind": "number"}, "history": {"kind": "history", "max_length": 20}},
        "item": {"title": {"kind": "words"}, "category": {"kind": "token"}, "price": {"kind": "number"}},
    },
    "model": {"kind": "two_tower", "embedding_dim": 32, "dim": 64},
    "training": {"epochs": 1, "threads": 1},
}


def make_small(folder: Path) -> Path:
    """Train on a small shop and export; gives the artifact."""
    shop = make_shop(rows=4_000, users=500, items=500)
    export_artifact(train(parse_config(_CONFIG), folder / "run", tables=shop), folder / "small")
    shop.items.write_parquet(folder / "items.parquet")
    return folder / "small"


def make_artifact(folder: Path, *, items: int, users: int) -> Path:
    """Give the small shop's artifact that many items and known users, of dimension 64.

    Args:
        folder: Where `make_small` worked.
        items: In the index.
        users: In the vocabulary of user ids, with what is known of each.
    """
    few = pl.read_parquet(folder / "items.parquet")
    more = few.sample(items - len(few), with_replacement=True, seed=1)
    named = more.with_columns(item_id=pl.format("more{}", pl.int_range(len(few), items)))
    pl.concat([few, named]).write_parquet(folder / "more.parquet")
    out = folder / "large"
    export_index(folder / "small", folder / "more.parquet", out)
    signature = Signature.read(out)
    _more_users(out, signature.query, users)
    replace(signature, files={name: sha256_of(out / name) for name in signature.files}).write(out)
    return out


def _more_users(folder: Path, spec: TowerSpec, users: int) -> None:
    known = Vocabulary.load(folder, spec.ids).tokens
    Vocabulary([*known, *(f"more{row}" for row in range(users - len(known)))]).save(folder, spec.ids)
    rows = np.arange(users) % len(known)
    for feature in spec.features:
        lookup = FeatureLookup.load(
            folder, spec.lookup[feature.name], feature.load_encoder(folder), keys=len(known)
        )
        for column, tensor in zip(lookup.columns, feature.tensors, strict=True):
            stem = spec.lookup[feature.name] + tensor.suffix
            _taken(column, rows).save(folder, stem)


def _taken(column: LookupColumn, rows: NDArray[np.int64]) -> LookupColumn:
    if column.offsets is None:
        return LookupColumn(column.values[rows], None)
    lists = Ragged(column.values, column.offsets)
    taken = lists.ranges(lists.offsets[rows], lists.offsets[rows + 1])
    return LookupColumn(taken.values, taken.offsets)
