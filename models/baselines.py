"""Baselines of retrieval, fitted on the same training part as a model and measured in the same way."""

from collections.abc import Iterable, Sequence

import numpy as np

from torchtowers.data.dataset import Dataset
from torchtowers.data.interactions import Interactions
from torchtowers.models.baseline_ease import EASE_ITEMS, fit_ease
from torchtowers.models.baseline_item_knn import fit_item_knn
from torchtowers.models.baseline_matrix_factorization import fit_implicit_als
from torchtowers.models.baseline_popularity import backed_by_popularity, popularity_scorer
from torchtowers.models.evaluation import Scorer, evaluate, seen_before
from torchtowers.models.pairs_by_user import PairsByUser

__all__ = ["BASELINES", "fit_baselines", "retrieval_baselines"]

BASELINES = ("popularity", "item_knn", "ease", "matrix_factorization")

# Settings that are tried; which is best depends on how dense the interactions are.
_KNN = ((50, 0.0), (300, 0.0), (100, 100.0))
_EASE = (20.0, 60.0, 200.0, 600.0, 2000.0)
_FACTORS = ((0.03, 0.1), (0.1, 0.03), (0.3, 0.01), (1.0, 0.003), (0.1, 0.01), (0.3, 0.03))
_HELD_OUT = 0.1
_USERS_TO_CHOOSE_BY = 2000
_ITEMS_TO_CHOOSE_BY = 5000


def retrieval_baselines(
    dataset: Dataset,
    *,
    accuracy_at: Sequence[int] = (1, 5, 10, 50, 100),
    ranking_at: Sequence[int] = (10,),
    names: Sequence[str] = BASELINES,
) -> dict[str, dict[str, float]]:
    """Fit baselines on the training part, and measure them on the test part.

    Args:
        dataset: The data of the model that they stand beside.
        accuracy_at: As in `evaluate`.
        ranking_at: As in `evaluate`.
        names: Which, of `BASELINES`.

    Returns:
        The figures of each.
    """
    return {
        name: evaluate(
            scorer, dataset.test, seen_before(dataset, "test"), accuracy_at=accuracy_at, ranking_at=ranking_at
        )
        for name, scorer in fit_baselines(dataset, names).items()
    }


def fit_baselines(dataset: Dataset, names: Sequence[str] = BASELINES) -> dict[str, Scorer]:
    """Fit baselines on the training part.

    Each is fitted with several settings first, of which the best by NDCG@10 is taken: on the validation part,
    or where there is none, on a tenth of the training part that is held out for that.

    Args:
        dataset: The data.
        names: Which, of `BASELINES`. `ease` is left out of catalogues above `EASE_ITEMS`.

    Raises:
        ValueError: A name is none of them.
    """
    unknown = sorted(set(names) - set(BASELINES))
    if unknown:
        raise ValueError(f"no baseline is called {unknown[0]!r}; there are {', '.join(BASELINES)}")
    items, choice = len(dataset.items), _Choice(dataset)
    train = _pairs(dataset.train)
    found: dict[str, Scorer] = {}
    if "item_knn" in names:
        best = choice.best(fit_item_knn(choice.pairs, choice.items, _KNN))
        found["item_knn"] = fit_item_knn(train, items, [_KNN[best]])[0]
    if "ease" in names and items <= EASE_ITEMS:
        # One after the other: of each, a matrix of all pairs of items is kept.
        best = choice.best(fit_ease(choice.pairs, choice.items, [strength])[0] for strength in _EASE)
        found["ease"] = fit_ease(train, items, [_EASE[best]])[0]
    if "matrix_factorization" in names:
        best = choice.best(_factorize(choice.pairs, choice.items, setting) for setting in _FACTORS)
        found["matrix_factorization"] = _factorize(train, items, _FACTORS[best])
    scorers = {name: backed_by_popularity(scorer, dataset.train, items) for name, scorer in found.items()}
    if "popularity" in names:
        return {"popularity": popularity_scorer(dataset.train, items), **scorers}
    return scorers


class _Choice:
    """Interactions to choose settings by: of a large catalogue its most popular items, and some users."""

    def __init__(self, dataset: Dataset) -> None:
        train, held = dataset.train, dataset.validation
        if not len(held):
            order = np.random.default_rng(0).permutation(len(train))
            count = max(1, round(len(train) * _HELD_OUT))
            train, held = train.take(np.sort(order[count:])), train.take(np.sort(order[:count]))
        counts = np.bincount(train.items, minlength=len(dataset.items))
        popular = np.argsort(-counts, kind="stable")[:_ITEMS_TO_CHOOSE_BY]
        self.items = len(popular)
        rows = np.full(len(counts), -1, dtype=np.int64)
        rows[popular] = np.arange(len(popular))
        self._train, self._held = (
            Interactions(part.users[chosen], rows[part.items[chosen]])
            for part in (train, held)
            for chosen in [np.flatnonzero(rows[part.items] >= 0)]
        )
        users = np.unique(self._held.users)
        if len(users) > _USERS_TO_CHOOSE_BY:
            users = np.random.default_rng(0).choice(users, _USERS_TO_CHOOSE_BY, replace=False)
            self._held = self._held.take(np.flatnonzero(np.isin(self._held.users, users)))
        self.pairs = _pairs(self._train)

    def best(self, scorers: Iterable[Scorer]) -> int:
        """Say which scorer is best; the first, where nothing is left to fit to or to measure by."""
        if not len(self._train) or not len(self._held):
            return 0
        figures = [
            evaluate(scorer, self._held, self._train, accuracy_at=(), ranking_at=(10,))["ndcg@10"]
            for scorer in scorers
        ]
        return int(np.argmax(figures))


def _pairs(interactions: Interactions) -> PairsByUser:
    return PairsByUser(interactions.users, interactions.items, unique=True)


def _factorize(pairs: PairsByUser, items: int, setting: tuple[float, float]) -> Scorer:
    weight, regularization = setting
    return fit_implicit_als(pairs, items, unobserved_weight=weight, regularization=regularization)
