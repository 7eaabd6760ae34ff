"""Products of queries with many rows, by torch where the process has loaded it, which is quicker at them."""

import sys
import warnings
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows"]

# Below it, calling torch costs more than it saves.
_FEWEST_BYTES = 1 << 22


class Rows:
    """Rows to multiply with queries.

    Args:
        values: float32 or int8 `[count, dim]`, which may be a read-only map.
    """

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values
        # It is never imported for this: a worker of another runtime is smaller without it.
        self._torch = sys.modules.get("torch") if values.nbytes >= _FEWEST_BYTES else None
        self._tensor: Any = None if self._torch is None else _shared(self._torch, values)
        # Of few rows a copy, as BLAS would turn them round for every batch: a quarter of its time for eight
        # queries of 1,682 rows.
        is_small = values.nbytes < _FEWEST_BYTES and values.dtype == np.float32
        self._turned = np.ascontiguousarray(values.T) if is_small and self._torch is None else values.T

    def products(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the products of float32 rows with queries `[batch, dim]`; float32 `[batch, count]`."""
        products: NDArray[np.float32]
        if self._torch is None:
            products = queries @ self._turned
        elif len(queries) == 1:
            products = self._torch.mv(self._tensor, self._torch.from_numpy(queries[0].copy())).numpy()[None]
        else:
            products = self._torch.mm(self._torch.from_numpy(queries.copy()), self._tensor.T).numpy()
        return products

    @cached_property
    def multiplies_int8(self) -> bool:
        """Whether `int8_products` can be asked for, and is exact here."""
        if self._torch is None or not hasattr(self._torch, "_int_mm"):
            return False
        # Processors without VNNI may add products in 16 bits, which the largest ones overflow.
        largest = np.full((64, self._values.shape[1]), 127, np.int8)
        largest[::2] = -127
        query = largest[0].copy()
        query[::3] = 127
        try:
            found = (
                self.int8_products(query)[:: len(largest)],
                _int_mm(self._torch, _shared(self._torch, largest), query),
            )
        except RuntimeError:
            return False
        rows = self._values[:: len(largest)], largest
        return all(
            np.array_equal(products, some.astype(np.int32) @ query.astype(np.int32))
            for products, some in zip(found, rows, strict=True)
        )

    def int8_products(self, query: NDArray[np.int8]) -> NDArray[np.int32]:
        """Give the exact products of int8 rows with an int8 query `[dim]`; int32 `[count]`."""
        return _int_mm(self._torch, self._tensor, query)


def _int_mm(torch: Any, rows: Any, query: NDArray[np.int8]) -> NDArray[np.int32]:
    # Not query[:, None], whose strides `_int_mm` takes wrongly and without a word.
    products: NDArray[np.int32] = torch._int_mm(rows, torch.from_numpy(query.reshape(-1, 1))).numpy()
    return products[:, 0]


def _shared(torch: Any, values: NDArray[Any]) -> Any:
    with warnings.catch_warnings():
        # That the array is read-only: nothing is written to it.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(values)
