"""How much of a catalogue gets recommended, and how evenly."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torchtowers.models.catalogue_rows import CatalogueRows
from torchtowers.models.index import Ids, TopK
from torchtowers.models.places import check_ks

__all__ = ["CatalogueCoverage"]


class CatalogueCoverage(Metric):
    """Share of the catalogue among the first k of anybody's list, and the Gini index of who gets how many.

    `gini@k` is 0 where every item is recommended as often, and near 1 where one item has all places; items
    that are never recommended count. Results of several ranks are summed.

    Source: Ge et al. 2010 (catalogue coverage), Fleder & Hosanagar 2009 (Gini).

    Args:
        items: How many the catalogue has.
        ks: How many of each list count.
        ids: `[items]`, the ids of the catalogue's rows, such as `index.ids`; needed for what an index found
            if its ids are not the rows' numbers.
        **kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: There is no item, no k, or a k is below 1 or given twice; or there is another number of
            ids than of items, or an id is given twice.

    Example:
        >>> metric = CatalogueCoverage(items=4, ks=(1, 2))
        >>> metric.update(torch.tensor([[0, 1], [0, 2]]))
        >>> {name: float(value) for name, value in metric.compute().items()}
        {'coverage@1': 0.25, 'gini@1': 0.75, 'coverage@2': 0.75, 'gini@2': 0.375}

        Of what an index recommends:

        >>> from torchtowers.models.brute_force import BruteForce
        >>> index = BruteForce(torch.tensor([[1.0], [2.0]]), ids=["a", "b"])
        >>> metric = CatalogueCoverage(items=2, ks=(1,), ids=index.ids)
        >>> metric.update(index.search(torch.ones(3, 1), k=1))
        >>> float(metric.compute()["coverage@1"])
        0.5
    """

    is_differentiable = False
    full_state_update = False

    counts: Tensor

    def __init__(
        self, items: int, ks: Sequence[int] = (10,), *, ids: Ids | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_ks(ks)
        if items < 1:
            raise ValueError(f"a catalogue has at least one item, got {items}")
        self.items = items
        self._rows = CatalogueRows(items, ids)
        self.ks = tuple(ks)
        self.add_state("counts", torch.zeros(len(ks), items, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, recommended: Tensor | TopK) -> None:
        """Count a batch of lists.

        Args:
            recommended: What an index's `search` gave, or int64 `[users, width]`, rows of the catalogue, best
                first; negative where a list ends early.

        Raises:
            IndexError: A row is past the catalogue's end, or an id is not in it.
            TypeError: An index's ids are no rows, and `ids` was not given or is of another type.
        """
        rows = self._rows.of(recommended)
        for counts, k in zip(self.counts, self.ks, strict=True):
            top = rows[:, :k]
            counts += torch.bincount(top[top >= 0], minlength=self.items).to(counts)

    def compute(self) -> dict[str, Tensor]:
        """Give `coverage@{k}` and `gini@{k}` for each k, 0 as long as nothing was counted."""
        figures = {}
        for counts, k in zip(self.counts, self.ks, strict=True):
            figures[f"coverage@{k}"] = (counts > 0).double().mean().float()
            figures[f"gini@{k}"] = _gini(counts.double()).float()
        return figures


def _gini(values: Tensor) -> Tensor:
    """Compute the mean difference of two values over twice their mean; 0 if all are 0."""
    number = len(values)
    weights = torch.arange(1 - number, number, 2, device=values.device)
    return (weights * values.sort().values).sum() / (number * values.sum()).clamp(min=1)
