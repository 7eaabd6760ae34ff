"""What a report shows of a model beside its figures: examples, and the catalogue as a map."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.models.catalogue_map import CatalogueMap, catalogue_map
from torchtowers.models.config import RunConfig
from torchtowers.models.evaluation import Scorer
from torchtowers.models.report_examples import (
    Example,
    example_predictions,
    example_recommendations,
    item_titles,
)

__all__ = ["ReportContent", "ranking_content", "retrieval_content"]


@dataclass(frozen=True)
class ReportContent:
    """What only the data and the model can tell.

    Args:
        examples: Recommendations or predictions for a few users.
        map: The catalogue; None where the model has no embedding of items.
    """

    examples: list[Example]
    map: CatalogueMap | None


def retrieval_content(
    config: RunConfig, dataset: Dataset, scorer: Scorer, embeddings: NDArray[np.floating]
) -> ReportContent:
    """Collect what a retrieval model's report shows.

    Args:
        config: The run's.
        dataset: Its data.
        scorer: The model's, as in `evaluate`.
        embeddings: The catalogue's, `[items, dim]`.
    """
    titles = item_titles(dataset, config.data.columns)
    counts = np.bincount(dataset.train.items, minlength=len(dataset.items))
    return ReportContent(
        example_recommendations(scorer, dataset, titles), catalogue_map(embeddings, counts, titles)
    )


def ranking_content(
    config: RunConfig,
    dataset: Dataset,
    predictions: NDArray[np.floating],
    labels: NDArray[np.floating],
    embeddings: NDArray[np.floating] | None = None,
) -> ReportContent:
    """Collect what a ranking model's report shows.

    Args:
        config: The run's.
        dataset: Its data.
        predictions: Of the test part, `[pairs]`.
        labels: What they predict, `[pairs]`.
        embeddings: Of the catalogue's items, `[items, dim]`, where there are such.
    """
    titles = item_titles(dataset, config.data.columns)
    counts = np.bincount(dataset.train.items, minlength=len(dataset.items))
    return ReportContent(
        example_predictions(predictions, labels, dataset, titles),
        None if embeddings is None else catalogue_map(embeddings, counts, titles),
    )
