"""What every encoder of sequences promises, for the tests of each."""

import torch
from torch import Tensor, nn

from torchtowers.models.last_state import last_state


def check_padding_changes_nothing(encoder: nn.Module, dim: int) -> None:
    """Padding before, after and between the items, of any content, gives the states of the items alone."""
    items = torch.randn(1, 4, dim)
    alone = encoder(items, torch.ones(1, 4, dtype=torch.bool))
    for places in ([0, 1, 2, 3], [3, 4, 5, 6], [0, 2, 3, 6], [1, 2, 4, 5]):
        padded = torch.randn(1, 7, dim)
        padded[:, places] = items
        present = torch.zeros(1, 7, dtype=torch.bool)
        present[:, places] = True
        states = encoder(padded, present)
        torch.testing.assert_close(states[:, places], alone)
        torch.testing.assert_close(last_state(states, present), alone[:, -1])


def check_later_items_change_no_earlier_state(encoder: nn.Module, dim: int) -> None:
    """Each state changes with its own item and with those before it, not with those after."""
    items = torch.randn(2, 6, dim)
    present = torch.ones(2, 6, dtype=torch.bool)
    states = encoder(items, present)
    for place in range(6):
        changed = items.clone()
        changed[:, place] = torch.randn(2, dim)
        after = encoder(changed, present)
        torch.testing.assert_close(after[:, :place], states[:, :place], rtol=0, atol=0)
        assert ((after - states).abs().amax(-1)[:, place:] > 1e-6).all()
    torch.testing.assert_close(encoder(items[:, :3], present[:, :3]), states[:, :3])


def check_rows_are_independent(encoder: nn.Module, dim: int) -> None:
    """A batch of one is a row of a larger batch, whose longest row may be padding for the others."""
    items = torch.randn(3, 5, dim)
    present = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])
    states = encoder(items, present)
    assert torch.isfinite(states).all()
    for row in range(3):
        alone = encoder(items[row : row + 1], present[row : row + 1])
        torch.testing.assert_close(alone[0, present[row]], states[row, present[row]])


def check_gradients_are_finite(encoder: nn.Module, dim: int) -> None:
    """Also with a row that is padding alone, which gives the items no gradient."""
    items = torch.randn(2, 4, dim, requires_grad=True)
    present = torch.tensor([[True, True, True, False], [False] * 4])
    last: Tensor = last_state(encoder(items, present), present)
    last.square().sum().backward()  # type: ignore[no-untyped-call]
    assert items.grad is not None
    assert torch.isfinite(items.grad).all()
    assert (items.grad.abs().amax(-1) > 0).tolist() == [[True, True, True, False], [False] * 4]
    for parameter in encoder.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


CHECKS = (
    check_padding_changes_nothing,
    check_later_items_change_no_earlier_state,
    check_rows_are_independent,
    check_gradients_are_finite,
)
