"""The kinds of models that retrieve from the whole catalogue: two towers, a sequence, two tasks at once."""

from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from torchtowers.data.batches import Batches
from torchtowers.data.dataset import Dataset
from torchtowers.data.example_batches import RatedPairs, labels_of
from torchtowers.data.hidden_item_batches import HiddenItemBatches
from torchtowers.data.sequence_batches import SequenceBatches
from torchtowers.models.baselines import retrieval_baselines
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.config import RunConfig
from torchtowers.models.defaults import embedding_dim, users_a_batch
from torchtowers.models.errors import ConfigError
from torchtowers.models.evaluation import (
    embed_candidates,
    evaluate,
    evaluate_retrieval,
    model_scorer,
    seen_before,
)
from torchtowers.models.model_config import MultiTaskConfig, SequentialConfig, TwoTowerConfig
from torchtowers.models.multi_task import build_multi_task
from torchtowers.models.ranking_baselines import ranking_baselines
from torchtowers.models.ranking_evaluation import evaluate_ranking
from torchtowers.models.report_content import ReportContent, retrieval_content
from torchtowers.models.retrieval_model import as_retrieval_model
from torchtowers.models.sequential_two_tower import build_gru4rec, build_sasrec
from torchtowers.models.trainable import BatchSource
from torchtowers.models.two_tower import build_two_tower

__all__ = ["MultiTaskKind", "SequentialKind", "TwoTowerKind"]

# Lists of a model in use are looked up whole, so memory goes by rows times the longest history.
_ROWS_AT_ONCE = 1024

S = TypeVar("S", TwoTowerConfig, MultiTaskConfig, SequentialConfig)


class _RetrievalKind:
    """What they share: figures over the whole catalogue."""

    def metric(self, config: RunConfig) -> tuple[str, Literal["max", "min"]]:
        """Give the figure that says which epoch is best, and whether larger is better."""
        return f"validation/ndcg@{config.evaluation.ranking_at[0]}", "max"

    def resolve(self, config: RunConfig, dataset: Dataset) -> RunConfig:
        """Give the configuration as it is: nothing is left open."""
        return config

    def measure(self, config: RunConfig, dataset: Dataset, model: nn.Module, part: str) -> dict[str, float]:
        """Measure a model on one part, over the whole catalogue."""
        settings = config.evaluation.model_dump()
        seen = seen_before(dataset, part)
        return evaluate(
            model_scorer(as_retrieval_model(model), dataset), getattr(dataset, part), seen, **settings
        )

    def examine(
        self, config: RunConfig, dataset: Dataset, model: nn.Module
    ) -> tuple[dict[str, Any], ReportContent]:
        """Measure a model on the test part, by groups too, and collect examples and the catalogue's map."""
        towers = as_retrieval_model(model)
        scorer = model_scorer(towers, dataset)
        settings = config.evaluation.model_dump()
        found = evaluate_retrieval(scorer, dataset.test, seen_before(dataset, "test"), **settings)
        content = retrieval_content(config, dataset, scorer, embed_candidates(towers, dataset))
        return {"test": found.figures, "groups": found.groups}, content

    def baselines(self, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
        """Measure what is no model of ours on the test part."""
        return retrieval_baselines(dataset, **config.evaluation.model_dump())


class TwoTowerKind(_RetrievalKind):
    """Two towers that learn from in-batch negatives, or to find hidden items in the catalogue."""

    def resolve(self, config: RunConfig, dataset: Dataset) -> RunConfig:
        """Choose the examples and the sizes."""
        _refuse_audiences(dataset)
        section = _section(config, TwoTowerConfig)
        found: dict[str, Any] = {}
        if section.examples is None:
            hides = dataset.history is not None and dataset.users.key not in dataset.users.encoders
            found["examples"] = "hidden_items" if hides else "pairs"
        elif section.examples == "hidden_items" and dataset.history is None:
            raise ConfigError(
                "model.examples: got hidden_items, and there is no history to hide them from: give "
                "features.user one, {kind: history}"
            )
        wide = embedding_dim(len(dataset.train), len(dataset.items))
        found["dim"] = section.dim or wide
        found["embedding_dim"] = section.embedding_dim or found["dim"]
        section = section.model_copy(update=found)
        training = config.training
        if section.examples == "hidden_items" and "batch_size" not in training.model_fields_set:
            users = len(np.unique(dataset.train.users))
            training = training.model_copy(update={"batch_size": users_a_batch(users)})
        return config.model_copy(update={"model": section, "training": training})

    def build(self, config: RunConfig, dataset: Dataset) -> nn.Module:
        """Build the model."""
        settings = _section(config, TwoTowerConfig).model_dump(
            exclude={"kind", "examples", "hidden_part", "candidates"}
        )
        return build_two_tower(
            dataset.users.encoders,
            dataset.items.encoders,
            query_key=dataset.users.key,
            candidate_key=dataset.items.key,
            history=dataset.history,
            share=config.features.share,
            **settings,
        )

    def batches(self, config: RunConfig, dataset: Dataset) -> BatchSource:
        """Give pairs of a user and an item, or users of whose items some are hidden."""
        section = _section(config, TwoTowerConfig)
        if section.examples == "hidden_items":
            lowest, highest = section.hidden_part
            return HiddenItemBatches(
                dataset,
                config.training.batch_size,
                config.training.seed,
                lowest=lowest,
                highest=highest,
                candidates=section.candidates,
            )
        return Batches(dataset, config.training.batch_size, config.training.seed)


class MultiTaskKind(_RetrievalKind):
    """Two towers that learn to predict ratings as well; how far off these are is measured, too."""

    def measure(self, config: RunConfig, dataset: Dataset, model: nn.Module, part: str) -> dict[str, float]:
        """Measure both tasks on one part."""
        return super().measure(config, dataset, model, part) | _rating_errors(dataset, model, part)

    def examine(
        self, config: RunConfig, dataset: Dataset, model: nn.Module
    ) -> tuple[dict[str, Any], ReportContent]:
        """Measure both tasks on the test part; see `_RetrievalKind.examine`."""
        metrics, content = super().examine(config, dataset, model)
        metrics["test"] = metrics["test"] | _rating_errors(dataset, model, "test")
        return metrics, content

    def baselines(self, config: RunConfig, dataset: Dataset) -> dict[str, Any]:
        """Measure baselines of both tasks on the test part."""
        of_ratings = ranking_baselines(dataset, scale="rating", ranking_at=())
        return super().baselines(config, dataset) | of_ratings

    def resolve(self, config: RunConfig, dataset: Dataset) -> RunConfig:
        """See that there are ratings."""
        _refuse_audiences(dataset)
        if dataset.train.labels is None:
            raise ConfigError("model.kind: multi_task learns ratings: name their column in data.rating")
        return config

    def build(self, config: RunConfig, dataset: Dataset) -> nn.Module:
        """Build the model."""
        settings = _section(config, MultiTaskConfig).model_dump(exclude={"kind"})
        return build_multi_task(
            dataset.users.encoders,
            dataset.items.encoders,
            query_key=dataset.users.key,
            candidate_key=dataset.items.key,
            history=dataset.history,
            share=config.features.share,
            **settings,
        )

    def batches(self, config: RunConfig, dataset: Dataset) -> BatchSource:
        """Give pairs with their ratings."""
        return RatedPairs(dataset, config.training.batch_size, config.training.seed)


class SequentialKind(_RetrievalKind):
    """A query that is made of a history's order."""

    def resolve(self, config: RunConfig, dataset: Dataset) -> RunConfig:
        """See that there is a history, and whether users have items more than once."""
        _refuse_audiences(dataset)
        if dataset.history is None:
            raise ConfigError(
                "model.kind: sequential takes a history: give features.user one, {kind: history}"
            )
        section = _section(config, SequentialConfig)
        if section.mask_seen is not None:
            return config
        train = dataset.train
        cells = train.users * len(dataset.items) + train.items
        found = section.model_copy(update={"mask_seen": len(np.unique(cells)) == len(cells)})
        return config.model_copy(update={"model": found})

    def build(self, config: RunConfig, dataset: Dataset) -> nn.Module:
        """Build the model."""
        section = _section(config, SequentialConfig)
        size = dataset.items.ids.size
        names: dict[str, Any] = {
            "history": str(dataset.history),
            "candidate_key": dataset.items.key,
            "pooled": section.pooled,
            "shared": section.shared,
            "normalize": section.normalize,
            "item_bias": section.item_bias,
            "temperature": section.temperature,
            "mask_seen": bool(section.mask_seen),
        }
        if section.encoder == "gru":
            return build_gru4rec(
                size,
                **names,
                dim=section.dim,
                hidden=section.hidden,
                layers=section.layers,
                dropout=section.dropout,
            )
        return build_sasrec(
            size,
            **names,
            dim=section.dim,
            max_length=self._max_length(dataset),
            blocks=section.layers,
            heads=section.heads,
            dropout=section.dropout,
        )

    def batches(self, config: RunConfig, dataset: Dataset) -> BatchSource:
        """Give windows of histories."""
        history = dataset.histories[str(dataset.history)]
        candidates, length = _section(config, SequentialConfig).candidates, self._max_length(dataset)
        return SequenceBatches(
            history.items,
            dataset.items.ids.size,
            config.training.batch_size,
            config.training.seed,
            max_length=length,
            stride=(length + 1) // 2,
            negatives=None if len(dataset.items) <= candidates else candidates,
        )

    def _max_length(self, dataset: Dataset) -> int:
        return dataset.histories[str(dataset.history)].feature.max_length


def _rating_errors(dataset: Dataset, model: nn.Module, part: str) -> dict[str, float]:
    """Measure how far off predicted ratings are: `rmse` and `mae`."""
    interactions = getattr(dataset, part)
    model.eval()
    predictions = []
    with torch.inference_mode():
        for first in range(0, len(interactions), _ROWS_AT_ONCE):
            some = interactions.take(np.arange(first, min(first + _ROWS_AT_ONCE, len(interactions))))
            query, candidate = dataset.query(some), dataset.items.take(some.items)
            predictions.append(model(to_tensors(query), to_tensors(candidate)).numpy())
    figures = evaluate_ranking(
        np.concatenate(predictions),
        labels_of(interactions),
        interactions.users,
        scale="rating",
        ranking_at=(),
    )
    return {name: figures[name] for name in ("rmse", "mae")}


def _refuse_audiences(dataset: Dataset) -> None:
    # An item is embedded once for all users: the one it is to be found for would be part of its input.
    for name in dataset.audiences:
        raise ConfigError(f"features.item.{name}: only a ranking model takes an item's history: leave it out")


def _section(config: RunConfig, kind: type[S]) -> S:
    if not isinstance(config.model, kind):
        raise TypeError(f"expected a configuration of {kind.__name__}, got {type(config.model).__name__}")
    return config.model
