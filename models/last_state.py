"""The state of a sequence: that of its last real place."""

import torch
from torch import Tensor

__all__ = ["last_state"]


def last_state(states: Tensor, present: Tensor) -> Tensor:
    """Take each row's state at its last real place; padding may stand anywhere.

    Args:
        states: `[batch, length, dim]`, as a sequence encoder gives them.
        present: bool `[batch, length]`; False is padding.

    Returns:
        `[batch, dim]`; zeros for a row that is all padding.

    Example:
        >>> states = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> last_state(states, torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    number = torch.arange(1, states.size(1) + 1, device=states.device)
    last = (present * number).amax(1)
    places = (last - 1).clamp(min=0)[:, None, None].expand(-1, 1, states.size(2))
    return states.gather(1, places).flatten(1).masked_fill((last == 0).unsqueeze(1), 0.0)
