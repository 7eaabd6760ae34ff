"""The handler's own settings: `torchtowers:` in an archive's model-config.yaml."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from torchtowers.handlers.agreement import Tolerance, tolerance_of
from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.execution import PRECISIONS
from torchtowers.handlers.limits import Limits

__all__ = ["Settings"]

_SECTION = "torchtowers"


@dataclass(frozen=True)
class Settings:
    """How a worker loads a model and what it answers.

    Args:
        limits: What a request may ask for.
        threads: Of one operation on the CPU; None takes the worker's part of the cores.
        warm_up: Whether the recorded requests are answered before the worker is ready.
        sample_tolerance: By how much a score of theirs may differ from the recorded one: absolute up to 1,
            and relative above; None for what the precision needs.
        precision: Of the model's products of matrices, and of the index's on a GPU.
        allow_cpu: Whether a worker that is given a GPU which it can't use goes on with the CPU, and warns.
    """

    limits: Limits = field(default_factory=Limits)
    threads: int | None = None
    warm_up: bool = True
    sample_tolerance: float | None = None
    precision: str = "float32"
    allow_cpu: bool = False

    def tolerance(self, kind: str) -> Tolerance:
        """Give how far answers may differ from the recorded ones.

        Args:
            kind: The model's.
        """
        tolerance = tolerance_of(self.precision, kind)
        given = self.sample_tolerance
        return tolerance if given is None else replace(tolerance, scores=given)

    @classmethod
    def from_config(cls, config: object) -> "Settings":
        """Take the settings from a parsed model-config.yaml; None is an archive without one.

        Raises:
            ArtifactError: A setting is unknown, or of the wrong kind.
        """
        given = config.get(_SECTION) if isinstance(config, Mapping) else None
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise ArtifactError(f"{_SECTION} in model-config.yaml has to be a mapping, got {shorten(given)}")
        own = [each.name for each in fields(cls) if each.name != "limits"]
        known = (*own, *(each.name for each in fields(Limits)))
        for name in given:
            if name not in known:
                raise ArtifactError(
                    f"{_SECTION}.{shorten(name)} in model-config.yaml: unknown; known are {', '.join(known)}"
                )
        checked: dict[str, Any] = {
            name: _CHECKS[name](name, given[name]) for name in own if given.get(name) is not None
        }
        return cls(limits=Limits.from_config(given), **checked)


def _threads(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(name, "a positive integer", value)
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "true or false", value)
    return value


def _tolerance(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise _wrong(name, "a number from 0 to below 1", value)
    return float(value)


def _precision(name: str, value: Any) -> str:
    if value not in PRECISIONS:
        raise _wrong(name, f"one of {', '.join(PRECISIONS)}", value)
    return str(value)


def _wrong(name: str, expected: str, value: object) -> ArtifactError:
    return ArtifactError(f"{_SECTION}.{name}: expected {expected}, got {shorten(value)}")


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "threads": _threads,
    "warm_up": _boolean,
    "sample_tolerance": _tolerance,
    "precision": _precision,
    "allow_cpu": _boolean,
}
