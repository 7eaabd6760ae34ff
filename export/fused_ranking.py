"""A ranking model as one module: raw values and candidates' ids to scores."""

import torch
from torch import Tensor, nn

from torchtowers.export.fused_features import (
    FusedValue,
    Labels,
    RawInput,
    given_features,
    known_features,
    raw_inputs,
)
from torchtowers.handlers.tower_scorer import TowerScorer

__all__ = ["FusedRanking"]

_CANDIDATES = "candidates"


class FusedRanking(nn.Module):
    """Encoders, what is known of users and items, and the model.

    Args:
        scorer: The artifact's encoders, and known users and items.
        model: The ranking model.

    Raises:
        ExportError: No operator of a graph can do what an encoder does.
    """

    def __init__(self, scorer: TowerScorer, model: nn.Module) -> None:
        super().__init__()
        query, item = scorer.query, scorer.item
        modules, labels = given_features(query)
        self.key = query.spec.key + "#row"
        self.candidates = _CANDIDATES
        self.item_id = item.spec.key
        self.item_row = _CANDIDATES + "#row"
        self.inputs = [*raw_inputs(query), RawInput(_CANDIDATES, "string", ("batch", "length"))]
        self.labels = [
            *labels,
            Labels.rows(self.key, query.spec.key, query.ids.vocabulary.tokens),
            Labels.rows(self.item_row, _CANDIDATES, item.ids.vocabulary.tokens),
            # Known or not, a candidate is an id that is not empty.
            Labels(_CANDIDATES, _CANDIDATES, (), unknown=1, missing=0),
        ]
        self.features = nn.ModuleList(modules.values())
        self.item_features = nn.ModuleList(known_features(item).values())
        self.item_key = nn.ModuleList()
        id_encoder = item.encoders.get(item.spec.key)
        if id_encoder is not None:
            self.item_key.append(FusedValue(item.spec.key, id_encoder, None))
            vocabulary = getattr(id_encoder, "vocabulary", None)
            if vocabulary is not None:
                self.labels.append(Labels(item.spec.key, _CANDIDATES, vocabulary.tokens))
        self.model = model

    def forward(self, raw: dict[str, Tensor]) -> Tensor:
        """Score every candidate of every row.

        Args:
            raw: The inputs by name, strings as labels.

        Returns:
            float32 `[batch, candidates]`; -inf where the candidate is the empty string, which pads.
        """
        row = raw[self.key]
        items = raw[self.item_row]
        owners = torch.ones_like(items).cumsum(0).reshape(-1) - 1
        encoded: dict[str, Tensor] = {}
        for feature in self.features:
            for name, values in feature(raw, row).items():
                encoded[name] = values[owners]
        flat = items.reshape(-1)
        for item_feature in self.item_features:
            encoded.update(item_feature(flat))
        for key in self.item_key:
            own = {self.item_id: raw[self.item_id].reshape(-1)}
            encoded.update(key(own, flat))
        scores: Tensor = self.model(encoded).reshape(items.size(0), items.size(1))
        return scores.masked_fill(raw[self.candidates] == 0, float("-inf"))
