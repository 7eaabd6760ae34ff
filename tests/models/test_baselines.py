"""Baselines against other computations of the same, and on data whose answer is known."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tiny import tiny_config, tiny_tables
from torchtowers.data.dataset import Dataset, prepare
from torchtowers.data.interactions import Interactions
from torchtowers.models import baselines
from torchtowers.models.baseline_ease import fit_ease
from torchtowers.models.baseline_item_knn import fit_item_knn
from torchtowers.models.baseline_matrix_factorization import fit_implicit_als
from torchtowers.models.baseline_popularity import backed_by_popularity, popularity_scorer
from torchtowers.models.baselines import BASELINES, fit_baselines, retrieval_baselines
from torchtowers.models.evaluation import evaluate
from torchtowers.models.pairs_by_user import PairsByUser

USERS, ITEMS = 30, 12


@pytest.fixture(scope="module")
def matrix() -> NDArray[np.int64]:
    generator = np.random.default_rng(1)
    likes = (generator.random((USERS, ITEMS)) < 0.3).astype(np.int64)
    likes[4] = 0  # a user without any
    likes[:, 7] = 0  # an item without any
    return likes


@pytest.fixture(scope="module")
def pairs(matrix: NDArray[np.int64]) -> PairsByUser:
    users, items = np.nonzero(matrix)
    # Repeated pairs count once.
    return PairsByUser(np.tile(users, 2), np.tile(items, 2), unique=True)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    config = tiny_config()
    return prepare(tiny_tables(), config.data, config.split, config.features)


def test_popularity_counts_training_interactions() -> None:
    train = Interactions(np.array([0, 1, 1]), np.array([2, 2, 0]))
    assert popularity_scorer(train, items=3)(np.array([0, 1])).tolist() == [[1, 0, 2], [1, 0, 2]]


def test_what_is_not_known_is_last_and_by_popularity() -> None:
    train = Interactions(np.array([0, 1, 1, 2]), np.array([2, 2, 0, 1]))
    given = np.array([[0.0, 0.5, 0.0, -2.0], [0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    scores = backed_by_popularity(lambda users: given[users], train, items=4)(np.array([0, 1]))
    assert scores.dtype == np.float32
    assert np.argsort(-scores, axis=1).tolist() == [[1, 3, 2, 0], [2, 1, 0, 3]]
    assert scores[0, 1] == np.float32(0.5)
    assert scores[0, 3] == -2


def test_ease_is_the_closed_form(matrix: NDArray[np.int64], pairs: PairsByUser) -> None:
    for strength, scorer in zip((2.0, 50.0), fit_ease(pairs, ITEMS, (2.0, 50.0)), strict=True):
        # As in the paper's listing, in double precision.
        inverse = np.linalg.inv(matrix.T @ matrix + strength * np.eye(ITEMS))
        weights = inverse / -np.diag(inverse)
        weights[np.diag_indices(ITEMS)] = 0
        asked = np.array([3, 0, 4, 29])
        np.testing.assert_allclose(scorer(asked), matrix[asked] @ weights, atol=2e-6)


def test_item_knn_is_cosine_of_the_nearest(matrix: NDArray[np.int64], pairs: PairsByUser) -> None:
    norms = np.sqrt((matrix**2).sum(0))
    for neighbours, shrinkage in ((ITEMS, 0.0), (3, 5.0)):
        similar = matrix.T @ matrix / np.maximum(np.outer(norms, norms) + shrinkage, 1e-9)
        np.fill_diagonal(similar, 0)
        border = np.sort(similar, axis=1)[:, -min(neighbours, ITEMS)][:, None]
        # Rows are the items that are scored; which of several at the border is kept is left open.
        surely, perhaps = np.where(similar > border, similar, 0), np.where(similar >= border, similar, 0)
        asked = np.array([2, 4, 11])
        scores = fit_item_knn(pairs, ITEMS, [(neighbours, shrinkage)])[0](asked)
        assert (scores >= matrix[asked] @ surely.T - 1e-5).all()
        assert (scores <= matrix[asked] @ perhaps.T + 1e-5).all()


def test_matrix_factorization_solves_its_objective(pairs: PairsByUser, matrix: NDArray[np.int64]) -> None:
    """With as many dimensions as items and hardly any regularization it is the mean of 1 and a half 0."""
    scorer = fit_implicit_als(
        pairs, ITEMS, dim=16, unobserved_weight=0.5, regularization=1e-4, sweeps=60, seed=3
    )
    np.testing.assert_allclose(scorer(np.arange(USERS)), matrix / 1.5, atol=0.02)
    regular = fit_implicit_als(pairs, ITEMS, dim=16, regularization=10.0, sweeps=5)
    assert np.abs(regular(np.arange(USERS))).max() < 0.1


def test_users_without_a_past_are_scored_too(pairs: PairsByUser) -> None:
    scorers = [
        fit_ease(pairs, ITEMS, [5.0])[0],
        fit_item_knn(pairs, ITEMS, [(5, 0.0)])[0],
        fit_implicit_als(pairs, ITEMS, dim=4),
    ]
    for scorer in scorers:
        alone, together = scorer(np.array([USERS + 3])), scorer(np.array([1, 4, USERS + 3]))
        assert alone.shape == (1, ITEMS)
        assert together.dtype == np.float32
        assert not together[1:].any()
        assert together[0].any()


def test_the_same_seed_gives_the_same_factors(pairs: PairsByUser) -> None:
    first, again = (fit_implicit_als(pairs, ITEMS, dim=4, seed=5)(np.arange(USERS)) for _ in range(2))
    assert (first == again).all()


def test_all_are_measured_in_the_same_way(dataset: Dataset) -> None:
    torch.manual_seed(0)
    figures = retrieval_baselines(dataset, accuracy_at=(10,), ranking_at=(10,))
    assert tuple(figures) == BASELINES
    popularity = popularity_scorer(dataset.train, len(dataset.items))
    expected = evaluate(popularity, dataset.test, dataset.train, accuracy_at=(10,), ranking_at=(10,))
    assert figures["popularity"] == expected
    # Users like one half of the items, which all but popularity find out.
    for name in BASELINES[1:]:
        assert figures[name]["recall@10"] > 1.3 * figures["popularity"]["recall@10"], name


def test_settings_are_chosen_without_the_test_part(dataset: Dataset) -> None:
    asked = np.arange(5)
    blind = Dataset(**{**vars(dataset), "test": dataset.test.take(np.arange(1))})
    for name, scorer in fit_baselines(dataset).items():
        assert (fit_baselines(blind, [name])[name](asked) == scorer(asked)).all()


def test_a_large_catalogue_has_no_ease(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "EASE_ITEMS", len(dataset.items) - 1)
    assert list(fit_baselines(dataset, ("popularity", "ease"))) == ["popularity"]


def test_an_unknown_baseline_is_refused(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="no baseline is called 'svd'; there are popularity"):
        fit_baselines(dataset, ("svd",))
