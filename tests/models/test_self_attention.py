from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tests.models.sequence_encoders import CHECKS
from torchtowers.models.self_attention import SelfAttentiveEncoder


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def make(dim: int, **settings: int) -> SelfAttentiveEncoder:
    encoder = SelfAttentiveEncoder(dim, **{"max_length": 6, **settings}).eval()
    # As after training; new norms would not show where they stand.
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return encoder


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("heads", [1, 2])
def test_it_keeps_what_every_encoder_promises(check: Callable[[nn.Module, int], None], heads: int) -> None:
    check(make(8, heads=heads, max_length=7), 8)


@pytest.mark.parametrize("heads", [1, 2])
def test_states_are_those_of_the_papers_equations(heads: int) -> None:
    dim, length = 4, 3
    encoder = make(dim, heads=heads, blocks=1)
    items = torch.randn(length, dim)
    block: Any = encoder.blocks[0]
    x = items * 2.0 + encoder.positions[:length]  # the square root of 4
    norm = block.attention_norm
    normed = nn.functional.layer_norm(x, (dim,), norm.weight, norm.bias)
    query, key, value = (normed @ part.T for part in block.projections.weight.chunk(3))
    width = dim // heads
    attended = torch.empty(length, dim)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for place in range(length):
            scores = query[place, part] @ key[: place + 1, part].T / width**0.5
            attended[place, part] = scores.softmax(0) @ value[: place + 1, part]
    x = x + attended
    first, second = block.feed_forward[0], block.feed_forward[3]
    normed = block.feed_forward_norm(x)
    x = x + torch.relu(normed @ first.weight.T + first.bias) @ second.weight.T + second.bias
    expected = encoder.norm(x)
    states = encoder(items[None], torch.ones(1, length, dtype=torch.bool))
    torch.testing.assert_close(states[0], expected)


def test_the_order_of_the_items_counts() -> None:
    encoder = make(4)
    items, present = torch.randn(1, 3, 4), torch.ones(1, 3, dtype=torch.bool)
    swapped = items[:, [1, 0, 2]]
    assert not torch.allclose(encoder(items, present)[:, 2], encoder(swapped, present)[:, 2], atol=1e-3)


def test_of_a_longer_sequence_the_last_items_are_seen() -> None:
    encoder = make(4, max_length=3)
    items = torch.randn(2, 5, 4)
    present = torch.tensor([[True] * 5, [True, True, False, True, True]])
    states = encoder(items, present)
    assert torch.isfinite(states).all()
    three = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(states[0, 2:], encoder(items[:1, 2:], three)[0])
    torch.testing.assert_close(states[1, [1, 3, 4]], encoder(items[1:, [1, 3, 4]], three)[0])


def test_dropout_acts_in_training_only() -> None:
    encoder = make(4).train()
    given = (torch.randn(1, 3, 4), torch.ones(1, 3, dtype=torch.bool))
    assert not torch.equal(encoder(*given), encoder(*given))
    assert torch.equal(encoder.eval()(*given), encoder(*given))


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="heads must divide dim, got 3 heads and dim 8"):
        SelfAttentiveEncoder(8, max_length=4, heads=3)
    with pytest.raises(ValueError, match="at least 1, got 8, 0, 2 and 1"):
        SelfAttentiveEncoder(8, max_length=0)
