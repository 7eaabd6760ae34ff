"""Arrays of an artifact, mapped into memory and checked before they are trusted."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["map_array", "save_array"]


def save_array(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write `folder/name` as .npy, with its folders made."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def map_array(folder: Path, name: str, dtype: type[np.generic], dimensions: int = 1) -> NDArray[Any]:
    """Map `folder/name` read-only, so that the workers of a host share its pages.

    Raises:
        ArtifactError: The file is missing, or not an array of that type and number of dimensions.
    """
    path = folder / name
    try:
        # Not np.load, which would also take a .npz or a pickle for an array.
        mapped = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise ArtifactError(f"{name} in {folder.name} can't be read: {shorten(str(error))}") from error
    # A view without np.memmap's per-slice bookkeeping; the pages stay the file's.
    array: NDArray[Any] = mapped.view(np.ndarray)
    if array.dtype != dtype or array.ndim != dimensions:
        raise ArtifactError(
            f"{name} in {folder.name}: expected {dimensions} dimensions of {np.dtype(dtype)}, "
            f"got {array.ndim} of {array.dtype}"
        )
    return array
