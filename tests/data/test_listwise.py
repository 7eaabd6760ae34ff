"""Lists drawn from users' ratings."""

import numpy as np
import pytest

from torchtowers.data.listwise import sample_listwise

USERS = np.array(["b", "a", "a", "b", "a", "c", "b", "a"])
ITEMS = np.arange(8)
RATINGS = np.array([1.0, 2, 3, 4, 5, 1, 2, 3])


def test_each_list_holds_distinct_ratings_of_one_user() -> None:
    lists = sample_listwise(USERS, ITEMS, RATINGS, lists_per_user=20, list_length=3, seed=1)
    assert lists.items.shape == lists.ratings.shape == (40, 3)
    assert lists.users.tolist() == ["a"] * 20 + ["b"] * 20
    for user, items, ratings in zip(lists.users, lists.items, lists.ratings, strict=True):
        assert len(set(items.tolist())) == 3
        assert (USERS[items] == user).all()
        assert (RATINGS[items] == ratings).all()
    # Not the same list again and again.
    assert len({tuple(sorted(items.tolist())) for items in lists.items[:20]}) == 4


def test_a_user_with_too_few_ratings_is_left_out() -> None:
    assert sample_listwise(USERS, ITEMS, RATINGS, list_length=4).users.tolist() == ["a"] * 10
    none = sample_listwise(USERS, ITEMS, RATINGS, list_length=5)
    assert none.users.shape == (0,)
    assert none.items.shape == (0, 5)


def test_the_seed_decides() -> None:
    first, again, other = (sample_listwise(USERS, ITEMS, RATINGS, list_length=2, seed=s) for s in (1, 1, 2))
    assert (first.items == again.items).all()
    assert (first.items != other.items).any()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="8 users, 7 items and 8 ratings"):
        sample_listwise(USERS, ITEMS[:7], RATINGS)
    with pytest.raises(ValueError, match="got 10 and 0"):
        sample_listwise(USERS, ITEMS, RATINGS, list_length=0)
