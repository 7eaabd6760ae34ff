import numpy as np
import pytest

from torchtowers.models.evaluation_groups import activity_groups, popularity_groups


def test_users_are_divided_evenly_and_unknown_ones_stand_alone() -> None:
    # User u has u interactions in training, and 2 to be divided.
    users = np.repeat(np.arange(9), 2)
    trained = np.repeat(np.arange(9), np.arange(9))
    groups = activity_groups(users, trained)
    assert [label for label, _ in groups] == ["0", "1 to 2", "3 to 4", "5 to 6", "7 to 8"]
    assert [np.unique(users[chosen]).tolist() for _, chosen in groups] == [
        [0],
        [1, 2],
        [3, 4],
        [5, 6],
        [7, 8],
    ]


def test_every_interaction_is_in_one_group() -> None:
    generator = np.random.default_rng(0)
    items, trained = generator.integers(0, 50, 400), generator.zipf(1.5, 5000).clip(max=60)
    groups = popularity_groups(items, trained)
    assert (np.sum([chosen for _, chosen in groups], axis=0) == 1).all()
    sizes = [int(chosen.sum()) for label, chosen in groups if label != "0"]
    assert max(sizes) < 3 * min(sizes)


@pytest.mark.parametrize("trained", [[], [0, 1, 2]])
def test_all_alike_is_one_group(trained: list[int]) -> None:
    groups = popularity_groups(np.array([0, 1, 2]), np.array(trained, dtype=np.int64))
    assert [(label, bool(chosen.all())) for label, chosen in groups] == [(str(len(trained) // 3), True)]
