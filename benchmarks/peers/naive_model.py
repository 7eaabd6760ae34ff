"""What a first attempt at serving looks like: user embeddings, item embeddings, topk, in TorchScript."""

import json
from pathlib import Path

import torch
from torch import nn

__all__ = ["Naive", "NaiveModel"]


class NaiveModel(nn.Module):
    """Gives each user's best items, from embeddings that were computed before.

    Args:
        users: float32 `[users, dim]`.
        items: float32 `[items, dim]`.
        k: How many items.
    """

    def __init__(self, users: torch.Tensor, items: torch.Tensor, k: int) -> None:
        super().__init__()
        self.users = nn.Parameter(users)
        self.items = nn.Parameter(items.T.contiguous())
        self.k = k

    def forward(self, users: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give scores and rows of items, `[batch, k]`, for rows of users."""
        scores, rows = torch.topk(self.users[users] @ self.items, self.k)
        return scores, rows


class Naive:
    """The model with its ids, as every peer calls it.

    Args:
        folder: Holds `naive.pt` and `naive.json`.
    """

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.model = torch.jit.load(str(folder / "naive.pt")).eval()
        ids = json.loads((folder / "naive.json").read_text())
        self.items = ids["items"]
        self.rows = {user: row for row, user in enumerate(ids["users"])}

    def answer(self, requests: list[dict]) -> list[dict]:
        """Answer a batch of requests."""
        users = torch.tensor([self.rows[request["user_id"]] for request in requests])
        with torch.inference_mode():
            scores, rows = self.model(users)
        return [
            {"items": [self.items[row] for row in own], "scores": of}
            for own, of in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
