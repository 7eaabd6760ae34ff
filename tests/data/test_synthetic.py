"""The made-up shop is as described, and can be learnt from."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.frames import interactions_of
from torchtowers.data.synthetic import make_shop, write_shop

SHOP = make_shop(3_000, users=150, items=100)
ROWS = interactions_of(SHOP)


def test_it_has_the_rows_that_were_asked_for_and_no_pair_twice() -> None:
    pairs = ROWS.select("user_id", "item_id")
    assert ROWS.height == 3_000
    assert pairs.n_unique() == 3_000
    assert (SHOP.users.height, SHOP.items.height) == (150, 100)
    assert set(pairs["user_id"]) <= set(SHOP.users["user_id"])
    assert set(pairs["item_id"]) <= set(SHOP.items["item_id"])


def test_a_seed_repeats_it() -> None:
    again = make_shop(3_000, users=150, items=100)
    for name in ("interactions", "users", "items"):
        assert getattr(again, name).equals(getattr(SHOP, name))
    assert not interactions_of(make_shop(3_000, users=150, items=100, seed=1)).equals(ROWS)


def test_liking_shows_in_the_ratings() -> None:
    rows = ROWS.join(SHOP.items, on="item_id")
    favourite = rows.group_by("user_id").agg(pl.col("category").mode().first().alias("favourite"))
    rows = rows.join(favourite, on="user_id")
    liked = rows.filter(pl.col("category") == pl.col("favourite"))["rating"].to_numpy()
    others = rows.filter(pl.col("category") != pl.col("favourite"))["rating"].to_numpy()
    assert liked.mean() > others.mean() + 0.3
    assert set(np.unique(rows["rating"].to_numpy())) <= {1.0, 2.0, 3.0, 4.0, 5.0}


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", SHOP)
    assert pl.read_csv(tmp_path / "shop" / "interactions.csv").equals(ROWS)
    assert pl.read_parquet(tmp_path / "shop" / "items.parquet").equals(SHOP.items)


def test_more_rows_than_pairs_or_fewer_than_users_are_refused() -> None:
    with pytest.raises(ValueError, match="more than a quarter of 2 users times 3 items"):
        make_shop(3_000, users=2, items=3)
    with pytest.raises(ValueError, match="1000 rows are fewer than 4000 users"):
        make_shop(1_000)
