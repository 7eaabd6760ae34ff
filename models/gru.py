"""GRU4Rec's encoder of a sequence: gated recurrent units from the oldest item to the newest."""

import torch
from torch import Tensor, nn

__all__ = ["GRUEncoder"]


class GRUEncoder(nn.Module):
    """Gives a state for each item of a sequence, of it and the items before.

    Source: Hidasi et al. 2016, "Session-based Recommendations with Recurrent Neural Networks".

    Args:
        dim: Width of the items' embeddings and of the states.
        hidden: Units of a layer; where it is not `dim`, a linear layer follows the last one.
        layers: Number of layers.
        dropout: In training, of each layer's states.

    Raises:
        ValueError: A size is below 1.
    """

    def __init__(self, dim: int, *, hidden: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if min(dim, hidden, layers) < 1:
            raise ValueError(f"dim, hidden and layers must be at least 1, got {dim}, {hidden} and {layers}")
        # torch warns of a dropout between layers where there is one layer.
        between = dropout if layers > 1 else 0.0
        self.gru = nn.GRU(dim, hidden, num_layers=layers, dropout=between, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Identity() if hidden == dim else nn.Linear(hidden, dim)

    def forward(self, items: Tensor, present: Tensor) -> Tensor:
        """Encode.

        Args:
            items: Embeddings, oldest first, `[batch, length, dim]`; the length is at least 1.
            present: bool `[batch, length]`; False is padding, which may stand anywhere and changes nothing.

        Returns:
            `[batch, length, dim]`; what stands at padding has no meaning.

        Example:
            >>> encoder = GRUEncoder(8, hidden=16)
            >>> encoder(torch.ones(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)).shape
            torch.Size([2, 5, 8])
        """
        # Real places move to the front, since a recurrence would carry the padding between them along.
        number = present.long().cumsum(1)
        absent = torch.arange(present.size(1), device=present.device) - number
        places = torch.where(present, number - 1, number[:, -1:] + absent)
        index = places.unsqueeze(-1)
        packed = torch.zeros_like(items).scatter(1, index.expand_as(items), items)
        states: Tensor = self.projection(self.dropout(self._recur(packed)))
        return states.gather(1, index.expand_as(items))

    def _recur(self, items: Tensor) -> Tensor:
        # TorchScript compiles this branch only.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            states: Tensor = self.gru(items)[0]
        else:
            states = _onnx_gru(self.gru, items) if torch.onnx.is_in_onnx_export() else self.gru(items)[0]
        return states


def _onnx_gru(gru: nn.GRU, items: Tensor) -> Tensor:
    """Give the layers as operators of ONNX, since the exporter's own translation fixes the length."""
    x = items.transpose(0, 1)
    for layer in range(gru.num_layers):
        weights = [_update_first(getattr(gru, f"weight_{part}_l{layer}")) for part in ("ih", "hh")]
        biases = [_update_first(getattr(gru, f"bias_{part}_l{layer}")) for part in ("ih", "hh")]
        states = torch.onnx.ops.symbolic(
            "GRU",
            (x, weights[0].unsqueeze(0), weights[1].unsqueeze(0), torch.cat(biases).unsqueeze(0)),
            {"hidden_size": gru.hidden_size, "linear_before_reset": 1},
            dtype=items.dtype,
            shape=(x.size(0), 1, x.size(1), gru.hidden_size),
        )
        x = states[:, 0]
    return x.transpose(0, 1)


def _update_first(weight: Tensor) -> Tensor:
    """Reorder the gates from torch's reset, update, new to ONNX's update, reset, new."""
    reset, update, new = weight.chunk(3)
    return torch.cat([update, reset, new])
