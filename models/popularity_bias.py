"""Whether recommendations are more popular than what users choose by themselves."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torchtowers.models.catalogue_rows import CatalogueRows
from torchtowers.models.index import Ids, TopK
from torchtowers.models.places import check_ks

__all__ = ["PopularityBias"]


class PopularityBias(Metric):
    """Average popularity of recommended items, over that of the interactions.

    1 means that lists are as popular as what users choose, more than 1 that they favour what is popular
    already. An interaction's popularity is the number of interactions that its item has, so that their
    average is `sum(count^2) / sum(count)`. Results of several ranks are summed.

    Source: average recommendation popularity, Yin et al. 2012 and Abdollahpouri et al. 2019.

    Args:
        popularity: `[items]`, how many interactions each item has in training.
        ks: How many of each list count.
        ids: `[items]`, the ids of the popularity's rows, such as `index.ids`; needed for what an index found
            if its ids are not the rows' numbers.
        **kwargs: Those of `torchmetrics.Metric`.

    Raises:
        ValueError: The popularity is not `[items]`, negative or all 0; there is no k, or one is below 1 or
            given twice; or there is another number of ids than of items, or an id is given twice.

    Example:
        >>> metric = PopularityBias(torch.tensor([3, 1]), ks=(1, 2))
        >>> metric.update(torch.tensor([[0, 1]]))
        >>> {name: round(float(value), 4) for name, value in metric.compute().items()}
        {'popularity_bias@1': 1.2, 'popularity_bias@2': 0.8}

        Of what an index recommends:

        >>> from torchtowers.models.brute_force import BruteForce
        >>> index = BruteForce(torch.tensor([[1.0], [2.0]]), ids=["a", "b"])
        >>> metric = PopularityBias(torch.tensor([3, 1]), ks=(1,), ids=index.ids)
        >>> metric.update(index.search(torch.ones(3, 1), k=1))
        >>> round(float(metric.compute()["popularity_bias@1"]), 4)
        0.4
    """

    is_differentiable = False
    full_state_update = False

    popularity: Tensor
    sums: Tensor
    recommended: Tensor

    def __init__(
        self, popularity: Tensor, ks: Sequence[int] = (10,), *, ids: Ids | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_ks(ks)
        if popularity.dim() != 1 or not (popularity >= 0).all() or not popularity.any():
            raise ValueError(
                f"popularity has to be [items], at least 0 and not all 0, got shape {list(popularity.shape)}"
            )
        self.ks = tuple(ks)
        self._rows = CatalogueRows(len(popularity), ids)
        self.register_buffer("popularity", popularity.double(), persistent=False)
        for name in ("sums", "recommended"):
            self.add_state(name, torch.zeros(len(ks), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, recommended: Tensor | TopK) -> None:
        """Count a batch of lists.

        Args:
            recommended: What an index's `search` gave, or int64 `[users, width]`, rows of `popularity`, best
                first; negative where a list ends early.

        Raises:
            IndexError: A row is past the catalogue's end, or an id is not in it.
            TypeError: An index's ids are no rows, and `ids` was not given or is of another type.
        """
        rows = self._rows.of(recommended)
        for place, k in enumerate(self.ks):
            top = rows[:, :k].to(self.popularity.device)
            popularity = self.popularity[top[top >= 0]]
            self.sums[place] += popularity.sum()
            self.recommended[place] += popularity.numel()

    def compute(self) -> dict[str, Tensor]:
        """Give `popularity_bias@{k}` for each k, 0 as long as nothing was counted."""
        usual = self.popularity.square().sum() / self.popularity.sum()
        means = self.sums / self.recommended.clamp(min=1) / usual
        return {f"popularity_bias@{k}": mean for k, mean in zip(self.ks, means.float(), strict=True)}
