import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from torchtowers.models.cooccurrence import Cooccurrence
from torchtowers.models.pairs_by_user import PairsByUser

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=30)


@given(PAIRS, st.lists(st.integers(0, 7), unique=True))
def test_pairs_of_some_users(pairs: list[tuple[int, int]], asked: list[int]) -> None:
    users, items = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    for unique in (False, True):
        found = PairsByUser(users, items, unique=unique)
        places, had = found.pairs(np.array(asked, dtype=np.int64))
        expected = [[item for user, item in pairs if user == name] for name in asked]
        if unique:
            expected = [sorted(set(own)) for own in expected]
        assert places.tolist() == [place for place, own in enumerate(expected) for _ in own]
        assert had.tolist() == [item for own in expected for item in own]


@given(PAIRS)
def test_common_users_are_the_product_of_the_matrix(pairs: list[tuple[int, int]]) -> None:
    matrix = np.zeros((6, 5), dtype=np.int64)
    for user, item in pairs:
        matrix[user, item] = 1
    users, items = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    common = Cooccurrence(PairsByUser(users, items, unique=True), 5)
    assert [common.row(item).tolist() for item in range(5)] == (matrix.T @ matrix).tolist()
