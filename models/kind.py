"""What training, evaluation and export ask of a kind of model."""

from typing import Any, Literal, Protocol

from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.models.config import RunConfig
from torchtowers.models.report_content import ReportContent
from torchtowers.models.trainable import BatchSource

__all__ = ["Kind"]


class Kind(Protocol):
    """One kind of model, from its configuration to its figures."""

    def metric(self, config: RunConfig) -> tuple[str, Literal["max", "min"]]:
        """Give the figure that says which epoch is best, and whether larger is better."""

    def resolve(self, config: RunConfig, dataset: Dataset) -> RunConfig:
        """Give the configuration with all that it left open, as it follows from the data.

        Raises:
            ConfigError: The data has not what the model needs, such as a label.
        """

    def build(self, config: RunConfig, dataset: Dataset) -> nn.Module:
        """Build the model that a configuration describes, with new weights."""

    def batches(self, config: RunConfig, dataset: Dataset) -> BatchSource:
        """Give the batches of the training part."""

    def measure(self, config: RunConfig, dataset: Dataset, model: nn.Module, part: str) -> dict[str, float]:
        """Measure a model on one part: `validation` or `test`."""

    def examine(
        self, config: RunConfig, dataset: Dataset, model: nn.Module
    ) -> tuple[dict[str, Any], ReportContent]:
        """Measure a model on the test part as `measure` does, and collect what the report shows.

        Returns:
            Of metrics.json: `test` and what goes with the kind; and the report's examples and map.
        """

    def baselines(self, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
        """Fit the baselines on the training part and measure them on the test part, by name."""
