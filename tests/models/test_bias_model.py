import numpy as np
import pytest

from torchtowers.data.interactions import Interactions
from torchtowers.models.bias_model import choose_biases, fit_biases


def of_pairs(users: list[int] | np.ndarray, items: list[int] | np.ndarray) -> Interactions:
    return Interactions(np.asarray(users, dtype=np.int64), np.asarray(items, dtype=np.int64))


def test_one_round_by_hand() -> None:
    labels = np.array([5, 3, 1], dtype=np.float32)
    model = fit_biases(of_pairs([0, 0, 1], [0, 1, 1]), labels, users=3, items=2, regularization=1, rounds=1)
    assert model.mean == 3
    # Item 0: 2 / (1 + 1); item 1: (0 - 2) / (2 + 1). Then user 0: (2 - 1 + 0 + 2/3) / (2 + 1).
    assert model.items == pytest.approx([1, -2 / 3])
    assert model.users == pytest.approx([5 / 9, -2 / 3, 0])
    predicted = model.predict(np.array([0, 2, 1]), np.array([0, 1, 1]))
    assert predicted == pytest.approx([3 + 5 / 9 + 1, 3 - 2 / 3, 3 - 4 / 3])
    assert predicted.dtype == np.float32


def test_it_is_the_least_squares_solution() -> None:
    generator = np.random.default_rng(4)
    users, items = generator.integers(0, 6, 60), generator.integers(0, 8, 60)
    labels = generator.normal(size=60).astype(np.float32)
    model = fit_biases(of_pairs(users, items), labels, users=6, items=8, regularization=2.0, rounds=200)
    rows = np.arange(60)
    design = np.zeros((60, 14))
    design[rows, users] = 1
    design[rows, 6 + items] = 1
    target = labels - labels.mean(dtype=np.float64)
    expected = np.linalg.solve(design.T @ design + 2.0 * np.eye(14), design.T @ target)
    assert np.concatenate([model.users, model.items]) == pytest.approx(expected, abs=1e-6)


def test_predictions_stay_within_the_labels() -> None:
    users, items = np.repeat(np.arange(4), 50), np.tile(np.arange(50), 4)
    labels = ((users + items) % 4 > 0).astype(np.float32)
    labels[users == 0] = 1
    model = fit_biases(of_pairs(users, items), labels, users=4, items=50, regularization=0.1)
    predicted = model.predict(users, items)
    assert predicted.min() >= 0
    assert predicted.max() == 1


def test_noise_is_regularized_more_than_what_repeats() -> None:
    generator = np.random.default_rng(1)
    users, items = np.repeat(np.arange(100), 8), generator.integers(0, 60, 800)
    noise = generator.normal(size=800).astype(np.float32)
    strong = (generator.normal(size=60)[items] * 3 + noise / 10).astype(np.float32)
    spread = [
        choose_biases(of_pairs(users, items), labels, users=100, items=60).items.std() / labels.std()
        for labels in (noise, strong)
    ]
    assert spread[0] < 0.2
    assert spread[1] > 0.8


def test_the_choice_does_not_depend_on_luck() -> None:
    users, items = np.repeat(np.arange(10), 5), np.tile(np.arange(10), 5)
    labels = (users % 3).astype(np.float32)
    first, second = (choose_biases(of_pairs(users, items), labels, users=10, items=10) for _ in range(2))
    assert np.array_equal(first.users, second.users)


@pytest.mark.parametrize(
    ("labels", "regularization", "message"),
    [([], 1.0, "no labels"), ([1.0], 0.0, "above 0, got 0"), ([1.0], float("nan"), "above 0, got nan")],
)
def test_refuses(labels: list[float], regularization: float, message: str) -> None:
    rows = [0] * len(labels)
    with pytest.raises(ValueError, match=message):
        fit_biases(
            of_pairs(rows, rows),
            np.array(labels, dtype=np.float32),
            users=1,
            items=1,
            regularization=regularization,
        )


def test_a_single_label_can_not_be_held_out() -> None:
    with pytest.raises(ValueError, match="two labels to hold one out, got 1"):
        choose_biases(of_pairs([0], [0]), np.ones(1, dtype=np.float32), users=1, items=1)
