"""What tuning a model gives: every setting that was measured, the best, and the configuration with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from torchtowers.serving.errors import ServingError
from torchtowers.serving.tuning_choice import Point

__all__ = ["Tuning"]


@dataclass(frozen=True)
class Tuning:
    """What was measured of a model.

    Args:
        name: The model.
        clients: How many asked at once under load.
        seconds: How long each setting was under load.
        points: A setting each, the present one first.
        planned: How many settings were to be measured.
        most_latency: The most milliseconds of one client that a setting may have to be chosen.
        chosen: The best; None where there is none.
        config: The archive's model-config.yaml, parsed.
        is_interrupted: Whether it was ended before all was measured.
    """

    name: str
    clients: int
    seconds: float
    points: tuple[Point, ...]
    planned: int
    most_latency: float
    chosen: Point | None
    config: Mapping[str, Any]
    is_interrupted: bool = False

    @property
    def present(self) -> Point | None:
        """The archive's own setting; None where tuning was interrupted before."""
        return self.points[0] if self.points else None

    @property
    def ranked(self) -> list[Point]:
        """The points by their throughput, the highest first."""
        return sorted(self.points, key=lambda point: -point.requests_per_second)

    def ratio(self, point: Point) -> float | None:
        """Give a point's throughput by the present one's; None where one of them failed."""
        present = self.present
        if present is None or present.failure is not None or point.failure is not None:
            return None
        return point.requests_per_second / present.requests_per_second

    def to_yaml(self) -> str:
        """Give the model-config.yaml with the chosen setting; every other key is as it was.

        Raises:
            ServingError: None was chosen.
        """
        if self.chosen is None:
            raise ServingError(self.no_choice())
        return yaml.safe_dump(self.chosen.setting.applied(self.config), sort_keys=False)

    def write(self, path: Path) -> None:
        """Write the model-config.yaml with the chosen setting.

        Raises:
            ServingError: None was chosen, or the file can't be written.
        """
        try:
            path.write_text(self.to_yaml(), encoding="utf-8")
        except OSError as error:
            raise ServingError(f"{path}: the settings can't be written: {error.strerror or error}") from None

    def no_choice(self) -> str:
        """Say why no setting was chosen."""
        sound = [point for point in self.points if point.failure is None]
        if not sound:
            reason = self.points[0].failure if self.points else "nothing was measured"
            return f"{self.name}: no setting works: {reason}"
        quickest = min(sound, key=lambda point: point.single)
        return (
            f"{self.name}: no setting answers one client in {self.most_latency:g} ms; the quickest takes "
            f"{quickest.single:.2f} ms ({quickest.setting}): allow more with --most-latency"
        )

    def to_json(self) -> dict[str, Any]:
        """Give the figures for machines."""
        return {
            "name": self.name,
            "clients": self.clients,
            "seconds": self.seconds,
            "interrupted": self.is_interrupted,
            "most_latency_ms": round(self.most_latency, 3),
            "points": [
                {
                    **point.to_json(),
                    "ratio": None if (ratio := self.ratio(point)) is None else round(ratio, 3),
                    "present": point is self.present,
                    "chosen": point is self.chosen,
                }
                for point in self.ranked
            ],
        }
