"""Golden cases: one `.json` that describes a call of TFRS or Keras-RS, one `.npz` of its arrays."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["FOLDER", "Case", "assert_close", "cases", "load"]

# Another folder of the same format can be tested instead of the one shipped.
FOLDER = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parents[1] / "golden")


@dataclass(frozen=True)
class Case:
    """What one call was given, and what it gave.

    Attributes:
        config: The constructor's arguments, under TFRS's names.
        inputs: The arguments of the call (`in/…`); text as arrays of strings.
        params: The weights (`param/…`), kernels in Keras's layout `[in, out]`.
        outputs: Results and gradients (`out/…`).
        raises: Class and text of the error that the original raised, `None` if it gave a result.
    """

    config: dict[str, Any]
    inputs: dict[str, Any]
    params: dict[str, Any]
    outputs: dict[str, Any]
    raises: list[str] | None


def cases(*prefixes: str) -> list[str]:
    """Name the cases that start with one of the prefixes, sorted; all of them without a prefix."""
    names = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "manifest")
    return [name for name in names if not prefixes or name.startswith(prefixes)]


def load(name: str) -> Case:
    """Read one case; arrays of numbers and truth values become tensors, text stays a NumPy array."""
    described = json.loads((FOLDER / f"{name}.json").read_text())
    groups: dict[str, dict[str, Any]] = {"in": {}, "param": {}, "out": {}}
    path = FOLDER / f"{name}.npz"
    # A case that raises may have no arrays.
    if path.exists():
        with np.load(path, allow_pickle=False) as arrays:
            for key, value in arrays.items():
                group, _, inner = key.partition("/")
                groups[group][inner] = _tensor(value)
    return Case(
        config=described["config"],
        inputs=groups["in"],
        params=groups["param"],
        outputs=groups["out"],
        raises=described["raises"],
    )


def assert_close(actual: Tensor | None, expected: Tensor) -> None:
    """Hold a result or a gradient to 1e-5."""
    assert actual is not None, "there is no gradient"
    torch.testing.assert_close(actual.detach(), expected, rtol=1e-5, atol=1e-5)


def _tensor(value: np.ndarray[Any, Any]) -> Tensor | np.ndarray[Any, Any]:
    return torch.from_numpy(value) if value.dtype.kind in "biuf" else value
