"""What a configuration says of a search for settings."""

from pydantic import Field, model_validator

from torchtowers.data.section import Section

__all__ = ["Range", "Setting", "TuningConfig"]


class Range(Section):
    """Numbers between two ends; both given as integers, only integers are tried.

    Args:
        low: The smallest.
        high: The largest.
        log: Whether each order of magnitude is tried as often as another.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ascending(self) -> "Range":
        if self.low >= self.high:
            raise ValueError("low has to be below high")
        if self.log and self.low <= 0:
            raise ValueError("low has to be above 0 where log is set")
        return self


Setting = Range | tuple[int | float | str | bool | tuple[int, ...] | None, ...]


class TuningConfig(Section):
    """Which settings are tried.

    Args:
        space: By dotted key of the sections model and training, a list of values or `{low, high, log}`;
            without it, what matters most for the model's kind.
    """

    space: dict[str, Setting] = Field(default_factory=dict)
