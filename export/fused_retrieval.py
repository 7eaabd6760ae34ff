"""A retrieval model as one module: raw values to the score of every candidate."""

import numpy as np
import torch
from torch import Tensor, nn

from torchtowers.export.fused_features import Labels, RawInput, given_features, raw_inputs
from torchtowers.handlers.tower_search import TowerSearch

__all__ = ["FusedRetrieval"]

_EXCLUDED = "exclude"
_EXCLUDES_HISTORY = "exclude_history"


class FusedRetrieval(nn.Module):
    """Encoders, query tower, exact scan and exclusions.

    Args:
        search: The artifact's encoders, known users, index and history.
        tower: The query tower.

    Raises:
        ExportError: No operator of a graph can do what an encoder does.
    """

    __constants__ = ("has_history",)
    candidates: Tensor
    scales: Tensor | None
    history_rows: Tensor

    def __init__(self, search: TowerSearch, tower: nn.Module) -> None:
        super().__init__()
        encoder, index = search.encoder, search.index
        modules, labels = given_features(encoder)
        names = tuple(index.ids.json_values("the index's ids"))
        key = encoder.spec.key
        self.key = key + "#row"
        self.excluded = _EXCLUDED + "#row"
        self.inputs = [*raw_inputs(encoder), RawInput(_EXCLUDED, "string", ("batch", "length"))]
        self.labels = [
            *labels,
            Labels.rows(self.key, key, encoder.ids.vocabulary.tokens),
            Labels.rows(self.excluded, _EXCLUDED, names),
        ]
        self.ids = names
        self.features = nn.ModuleList(modules.values())
        self.tower = tower
        kept = index.scored
        self.register_buffer("candidates", torch.from_numpy(np.array(kept.values)))
        scales = None if kept.scales is None else torch.from_numpy(np.array(kept.scales))
        self.register_buffer("scales", scales)
        history = encoder.history_name
        self.has_history = history is not None
        self.history = modules[history] if history is not None else nn.Identity()
        rows = search.history_rows
        self.register_buffer("history_rows", torch.from_numpy(np.where(rows < 0, len(names), rows)))
        if self.has_history:
            self.inputs.append(RawInput(_EXCLUDES_HISTORY, "bool", ("batch",)))

    def forward(self, raw: dict[str, Tensor]) -> Tensor:
        """Score every candidate.

        Args:
            raw: The inputs by name, strings as labels.

        Returns:
            float32 `[batch, candidates]`; -inf where one is excluded.
        """
        row = raw[self.key]
        encoded: dict[str, Tensor] = {}
        for feature in self.features:
            encoded.update(feature(raw, row))
        queries: Tensor = self.tower(encoded)
        scores = queries @ self.candidates.to(queries.dtype).t()
        scales = self.scales  # a local name, as TorchScript narrows no attribute's type
        if scales is not None:
            scores = scores * scales
        count = scores.size(1)
        excluded = raw[self.excluded]
        excluded = excluded.masked_fill(excluded < 0, count)
        if self.has_history:
            known = self.history_rows[self.history.found(raw, row)]  # type: ignore[operator]
            kept = ~raw["exclude_history"].unsqueeze(1)
            excluded = torch.cat([excluded, known.masked_fill(kept, count)], dim=1)
        # One column more, for what is no candidate.
        out = torch.zeros([scores.size(0), count + 1], dtype=torch.bool)
        out = out.scatter(1, excluded, torch.ones_like(excluded, dtype=torch.bool))[:, :count]
        return scores.masked_fill(out | ~torch.isfinite(scores), float("-inf"))
