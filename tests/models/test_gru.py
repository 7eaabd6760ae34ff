from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.models.sequence_encoders import CHECKS
from torchtowers.models.gru import GRUEncoder


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("hidden", "layers"), [(8, 1), (5, 2)])
def test_it_keeps_what_every_encoder_promises(
    check: Callable[[nn.Module, int], None], hidden: int, layers: int
) -> None:
    check(GRUEncoder(8, hidden=hidden, layers=layers, dropout=0.5).eval(), 8)


def test_states_are_those_of_the_papers_equations() -> None:
    encoder = GRUEncoder(3, hidden=3).eval()
    weights = {name: parameter.detach() for name, parameter in encoder.gru.named_parameters()}
    items = torch.randn(2, 4, 3)
    state = torch.zeros(2, 3)
    states = encoder(items, torch.ones(2, 4, dtype=torch.bool))
    for place in range(4):
        given = items[:, place] @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
        kept = state @ weights["weight_hh_l0"].T + weights["bias_hh_l0"]
        reset = torch.sigmoid(given[:, :3] + kept[:, :3])
        update = torch.sigmoid(given[:, 3:6] + kept[:, 3:6])
        new = torch.tanh(given[:, 6:] + reset * kept[:, 6:])
        state = (1 - update) * new + update * state
        torch.testing.assert_close(states[:, place], state)


def test_dropout_acts_in_training_only() -> None:
    encoder = GRUEncoder(4, hidden=4, dropout=0.5)
    given = (torch.randn(50, 3, 4), torch.ones(50, 3, dtype=torch.bool))
    dropped = (encoder(*given) == 0).float().mean().item()
    assert 0.4 < dropped < 0.6
    assert (encoder.eval()(*given) != 0).all()


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 4, 0 and 1"):
        GRUEncoder(4, hidden=0)
