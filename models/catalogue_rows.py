"""Which rows of a catalogue stand in lists of recommendations."""

import torch
from torch import Tensor

from torchtowers.models.id_table import IdTable
from torchtowers.models.index import Ids, TopK, id_array

__all__ = ["CatalogueRows"]


class CatalogueRows:
    """The rows of what is recommended, by number or by id.

    Args:
        items: How many the catalogue has.
        ids: `[items]`, the ids of its rows, each once; their numbers where left out.

    Raises:
        ValueError: There is another number of ids than of items, or an id stands there twice.

    Example:
        >>> from torchtowers.models.brute_force import BruteForce
        >>> index = BruteForce(torch.tensor([[1.0], [2.0]]), ids=["a", "b"])
        >>> CatalogueRows(2, index.ids).of(index.search(torch.ones(1, 1), k=2, exclude=[["a"]])).tolist()
        [[1, -1]]
    """

    def __init__(self, items: int, ids: Ids | None = None) -> None:
        self.items = items
        self._table: IdTable | None = None
        if ids is not None:
            self._table = IdTable(id_array(ids).copy())
            if len(self._table) != items:
                raise ValueError(f"there are {items} items and {len(self._table)} ids")
            if not self._table.is_unique:
                raise ValueError("some items share an id, so that an id has no one row: give each its own")

    def of(self, recommended: Tensor | TopK) -> Tensor:
        """Give the rows of lists.

        Args:
            recommended: Rows, int64 `[users, width]`, negative where a list ends early; or what an index's
                `search` gave.

        Returns:
            int64 `[users, width]`, negative where a list ends early.

        Raises:
            IndexError: A row or an id is not in the catalogue.
            TypeError: Found ids are no rows, and the catalogue has no ids or those of another type.
        """
        rows = recommended if isinstance(recommended, Tensor) else self._rows_found(recommended)
        if rows.numel() and rows.max() >= self.items:
            raise IndexError(f"item {int(rows.max())} is not among {self.items} items")
        return rows

    def _rows_found(self, found: TopK) -> Tensor:
        given = found.scores.cpu() > -torch.inf
        names = id_array(found.ids[given.numpy()])
        if self._table is not None:
            found_rows = torch.from_numpy(self._table.row_of_each(names))
        elif names.dtype == object and len(names):
            raise TypeError(f"{names[0]!r} is no row of the catalogue: give its ids, ids=index.ids")
        else:
            found_rows = torch.from_numpy(names.astype("int64"))
        if (found_rows < 0).any():
            missing = names[(found_rows < 0).numpy()].tolist()
            raise IndexError(f"item {missing[0]!r} is not among {self.items} items")
        return torch.full(given.shape, -1).masked_scatter(given, found_rows).to(found.scores.device)
