"""The kind of model that scores a user, an item and their context together."""

import math
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.data.example_batches import ExampleBatches, ListBatches, labels_of
from torchtowers.data.interactions import Interactions
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.calibration_curve import calibration_curve
from torchtowers.models.config import RunConfig
from torchtowers.models.errors import ConfigError
from torchtowers.models.feature_cross import build_feature_crosses
from torchtowers.models.listwise_losses import ListMLELoss
from torchtowers.models.model_config import RankingConfig
from torchtowers.models.pairwise_losses import PairwiseLogisticLoss
from torchtowers.models.pointwise_losses import BinaryCrossentropy, MeanSquaredError
from torchtowers.models.ranker import build_ranker
from torchtowers.models.ranking_baselines import ranking_baselines
from torchtowers.models.ranking_defaults import examples_a_batch, ranking_dim
from torchtowers.models.ranking_evaluation import Scale, evaluate_ranking
from torchtowers.models.rated_clicks import RatedClickLoss
from torchtowers.models.report_content import ReportContent, ranking_content
from torchtowers.models.towers import PREFIX
from torchtowers.models.trainable import BatchSource

__all__ = ["RankingKind", "predict"]

# Lists of a model in use are looked up whole, so memory goes by rows times the longest history.
_ROWS_AT_ONCE = 1024

_CLICK_OR_NOT = 2

_SCALES: dict[str, Scale] = {
    "mean_squared_error": "rating",
    "binary_crossentropy": "probability",
    "pairwise": "order",
    "listwise": "order",
}
_METRICS: dict[Scale, tuple[str, Literal["max", "min"]]] = {
    "rating": ("validation/rmse", "min"),
    "probability": ("validation/auc", "max"),
    "order": ("validation/ndcg@10", "max"),
}


class RankingKind:
    """A ranking model, by whichever loss."""

    def metric(self, config: RunConfig) -> tuple[str, Literal["max", "min"]]:
        """Give the figure that says which epoch is best, and whether larger is better."""
        name, mode = _METRICS[_SCALES[_section(config).loss]]
        return name.replace("@10", f"@{config.evaluation.ranking_at[0]}"), mode

    def resolve(self, config: RunConfig, dataset: Dataset) -> RunConfig:
        """See that there are labels, such as the loss takes, and choose the sizes."""
        section = _section(config)
        if dataset.train.labels is None:
            raise ConfigError("model.kind: ranking learns labels: name their column in data.rating")
        labels = labels_of(dataset.train, section.positive_from)
        if section.loss == "binary_crossentropy" and not np.isin(labels, (0, 1)).all():
            odd = labels[~np.isin(labels, (0, 1))][0]
            raise ConfigError(
                f"model.loss: binary_crossentropy learns labels of 0 and 1, and there is {odd:g}: set "
                "model.positive_from to the label from which one counts as 1"
            )
        if len(np.unique(labels)) < 2:
            raise ConfigError(f"model: every label is {labels[0]:g}: there is nothing to learn")
        try:
            build_feature_crosses(dataset.encoders, section.crosses)
        except ValueError as error:
            raise ConfigError(f"model.{error}") from error
        dim = section.embedding_dim or ranking_dim(len(dataset.train))
        training = config.training
        if "batch_size" not in training.model_fields_set:
            training = training.model_copy(update={"batch_size": examples_a_batch(len(dataset.train))})
        section = section.model_copy(update={"embedding_dim": dim})
        return config.model_copy(update={"model": section, "training": training})

    def build(self, config: RunConfig, dataset: Dataset) -> nn.Module:
        """Build the model."""
        section = _section(config)
        loss, offset, scale = _loss(section, dataset)
        assert section.embedding_dim is not None
        return build_ranker(
            dataset.encoders,
            loss=loss,
            offset=offset,
            scale=scale,
            interaction=section.interaction,
            embedding_dim=section.embedding_dim,
            hidden=section.hidden,
            cross_layers=section.cross_layers,
            dropout=section.dropout,
            unknown_rate=section.unknown_rate,
            keys=(dataset.users.key, dataset.items.key),
            share=config.features.share,
            crosses=section.crosses,
        )

    def batches(self, config: RunConfig, dataset: Dataset) -> BatchSource:
        """Give labelled examples, in lists where the loss takes such."""
        section, training = _section(config), config.training
        if _SCALES[section.loss] == "order":
            return ListBatches(
                dataset,
                training.batch_size,
                training.seed,
                list_size=section.list_size,
                positive_from=section.positive_from,
            )
        bound = None if _are_rated_clicks(section, dataset) else section.positive_from
        return ExampleBatches(dataset, training.batch_size, training.seed, bound)

    def measure(self, config: RunConfig, dataset: Dataset, model: nn.Module, part: str) -> dict[str, float]:
        """Measure a model on one part's labels."""
        interactions = getattr(dataset, part)
        return self._figures(config, interactions, predict(model, dataset, interactions))

    def examine(
        self, config: RunConfig, dataset: Dataset, model: nn.Module
    ) -> tuple[dict[str, Any], ReportContent]:
        """Measure a model on the test part, and collect examples, calibration and the items' map."""
        section, test = _section(config), dataset.test
        predictions, labels = predict(model, dataset, test), labels_of(test, section.positive_from)
        metrics: dict[str, Any] = {"test": self._figures(config, test, predictions)}
        if _SCALES[section.loss] != "order":
            metrics["calibration_curve"] = calibration_curve(predictions, labels)
        embeddings = _embed_items(model, dataset)
        return metrics, ranking_content(config, dataset, predictions, labels, embeddings)

    def _figures(
        self, config: RunConfig, interactions: Interactions, predictions: NDArray[np.float32]
    ) -> dict[str, float]:
        section = _section(config)
        return evaluate_ranking(
            predictions,
            labels_of(interactions, section.positive_from),
            interactions.users,
            scale=_SCALES[section.loss],
            ranking_at=config.evaluation.ranking_at,
        )

    def baselines(self, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
        """Measure the mean label and the bias model on the test part."""
        section = _section(config)
        return ranking_baselines(
            dataset,
            scale=_SCALES[section.loss],
            positive_from=section.positive_from,
            ranking_at=config.evaluation.ranking_at,
        )


def predict(model: nn.Module, dataset: Dataset, interactions: Interactions) -> NDArray[np.float32]:
    """Predict the label of each pair, float32 `[pairs]`."""
    model.eval()
    parts = []
    with torch.inference_mode():
        for first in range(0, len(interactions), _ROWS_AT_ONCE):
            rows = np.arange(first, min(first + _ROWS_AT_ONCE, len(interactions)))
            parts.append(model(to_tensors(dataset.examples(interactions.take(rows)))).numpy())
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def _embed_items(model: nn.Module, dataset: Dataset) -> NDArray[np.float32] | None:
    """Give the embeddings of the items' ids, `[items, dim]`; None where the id is no feature."""
    embeddings = getattr(model, "embeddings", {})
    name = PREFIX + dataset.items.key
    if name not in embeddings:
        return None
    with torch.inference_mode():
        features = to_tensors(dataset.items.take(np.arange(len(dataset.items))))
        embedded: NDArray[np.float32] = embeddings[name](features).numpy()
    return embedded


def _section(config: RunConfig) -> RankingConfig:
    if not isinstance(config.model, RankingConfig):
        raise TypeError(f"expected a configuration of a ranking model, got {type(config.model).__name__}")
    return config.model


def _are_rated_clicks(section: RankingConfig, dataset: Dataset) -> bool:
    """Say whether clicks are made of labels that tell more than the clicks."""
    return (
        section.loss == "binary_crossentropy"
        and section.positive_from is not None
        and len(np.unique(labels_of(dataset.train))) > _CLICK_OR_NOT
    )


def _loss(section: RankingConfig, dataset: Dataset) -> tuple[nn.Module, float, float]:
    """Give a loss, the score where nothing is known but the mean label, and what labels differ from it."""
    labels = labels_of(dataset.train, section.positive_from)
    mean, deviation = float(labels.mean(dtype=np.float64)), float(labels.std(dtype=np.float64))
    match section.loss:
        case "mean_squared_error":
            return MeanSquaredError(), mean, deviation
        case "binary_crossentropy" if _are_rated_clicks(section, dataset):
            assert section.positive_from is not None
            ratings = labels_of(dataset.train)
            rating, spread = float(ratings.mean(dtype=np.float64)), float(ratings.std(dtype=np.float64))
            return RatedClickLoss(section.positive_from, deviation=spread, share=mean), rating, spread
        case "binary_crossentropy":
            return BinaryCrossentropy(from_logits=True), math.log(mean / (1 - mean)), 1.0
        case "pairwise":
            return PairwiseLogisticLoss(), 0.0, 1.0
        case _:
            return ListMLELoss(), 0.0, 1.0
