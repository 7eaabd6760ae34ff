"""A fused model as one TorchScript file, for hosts in C++: strings and numbers in, ids and scores out."""

from pathlib import Path

import torch
from torch import Tensor, nn

from torchtowers.export.fused_ranking import FusedRanking
from torchtowers.export.fused_retrieval import FusedRetrieval
from torchtowers.export.torchscript import save_scripted

__all__ = ["export_fused_torchscript"]


class _Labelled(nn.Module):
    """Strings to labels, then the module.

    Args:
        module: Takes labels and numbers by name.
    """

    by_token: dict[str, dict[str, int]]
    unknown: dict[str, int]
    sources: dict[str, str]
    is_list: dict[str, bool]

    def __init__(self, module: FusedRetrieval | FusedRanking) -> None:
        super().__init__()
        shapes = {given.name: given.shape for given in module.inputs}
        self.by_token = {label.name: label.by_token for label in module.labels}
        self.unknown = {label.name: label.unknown for label in module.labels}
        self.sources = {label.name: label.source for label in module.labels}
        self.is_list = {label.name: len(shapes[label.source]) > 1 for label in module.labels}
        self.module = module

    def forward(
        self, tokens: dict[str, list[str]], lists: dict[str, list[list[str]]], numbers: dict[str, Tensor]
    ) -> Tensor:
        """Give the scores of a batch.

        Args:
            tokens: Inputs of one string a row.
            lists: Inputs of a list of strings a row, of any lengths.
            numbers: All others.
        """
        raw: dict[str, Tensor] = {}
        for name, values in numbers.items():
            raw[name] = values  # noqa: PERF403 - scripted
        for name, by_token in self.by_token.items():
            if self.is_list[name]:
                rows = lists[self.sources[name]]
            else:
                rows = [[token] for token in tokens[self.sources[name]]]
            labels = self._labels(by_token, self.unknown[name], rows)
            raw[name] = labels if self.is_list[name] else labels[:, 0]
        scores: Tensor = self.module(raw)
        return scores

    def _labels(self, by_token: dict[str, int], unknown: int, rows: list[list[str]]) -> Tensor:
        width = 1
        for row in rows:
            width = max(width, len(row))
        missing = by_token[""]
        labels = [missing for _ in range(len(rows) * width)]
        for place, row in enumerate(rows):
            for column, token in enumerate(row):
                labels[place * width + column] = by_token.get(token, unknown)
        return torch.tensor(labels, dtype=torch.int64).reshape(len(rows), width)


class _Best(nn.Module):
    """Scores to the best candidates.

    Args:
        module: Of a retrieval model.
    """

    ids: list[str]

    def __init__(self, module: FusedRetrieval) -> None:
        super().__init__()
        self.labelled = _Labelled(module)
        self.ids = list(module.ids)

    def forward(
        self,
        tokens: dict[str, list[str]],
        lists: dict[str, list[list[str]]],
        numbers: dict[str, Tensor],
        k: int,
    ) -> tuple[list[list[str]], list[Tensor]]:
        """Give each row's ids and scores, best first, ties in the index's order.

        Where fewer than k are allowed, there are fewer.
        """
        scores = self.labelled(tokens, lists, numbers)
        items: list[list[str]] = []
        kept: list[Tensor] = []
        count = min(k, scores.size(1))
        for row in range(scores.size(0)):
            own = scores[row]
            # All that reach the k-th best score, so that ties at the border go by row and not by chance.
            least = torch.topk(own, count).values[-1]
            rows = torch.nonzero((own >= least) & ~torch.isinf(own))[:, 0]
            order = torch.argsort(own[rows], stable=True, dim=0, descending=True)[:count]
            rows = rows[order]
            names: list[str] = []
            for place in range(rows.size(0)):
                names.append(self.ids[int(rows[place])])  # noqa: PERF401 - scripted
            items.append(names)
            kept.append(own[rows])
        return items, kept


def export_fused_torchscript(module: FusedRetrieval | FusedRanking, path: Path) -> None:
    """Write a fused model as TorchScript.

    It takes `tokens`, `dict[str, list[str]]`, the inputs of one string a row; `lists`,
    `dict[str, list[list[str]]]`, those of lists; `numbers`, `dict[str, Tensor]`, all others; and for
    retrieval `k`, an integer. It gives each row's ids and scores; of a ranking model the scores, float32
    `[batch, candidates]`.

    Args:
        module: In evaluation mode.
        path: The `.pt` file.

    Raises:
        ExportError: The model is in training mode, or a feature's name is beyond ASCII.
    """
    wrapped = _Best(module) if isinstance(module, FusedRetrieval) else _Labelled(module)
    save_scripted(wrapped.train(module.training), path)
