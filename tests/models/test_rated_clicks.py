import math

import pytest
import torch

from torchtowers.models.rated_clicks import ClickLine, RatedClickLoss


def test_the_line_begins_at_the_share_and_rises_with_the_rating() -> None:
    line = ClickLine(3.0, 2.0, 0.25)
    torch.testing.assert_close(line(torch.tensor([3.0])), torch.tensor([0.25]))
    torch.testing.assert_close(line.logits(torch.tensor([[5.0]])), torch.tensor([[1 - math.log(3)]]))


def test_loss_by_hand() -> None:
    loss = RatedClickLoss(4, deviation=2.0, share=0.5)
    value = loss(torch.tensor([4.0, 1.0]), torch.tensor([0.0, math.log(3)]), torch.tensor([4.0, 3.0]))
    # (0 + 4) / 2 / 4, and the logarithms of 1/2 for the click and of 1/4 for what is none.
    torch.testing.assert_close(value, torch.tensor(0.5 + (math.log(2) + math.log(4)) / 2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"deviation": 0.0, "share": 0.5}, "deviation has to be above 0, got 0"),
        ({"deviation": 1.0, "share": 1.0}, "share has to be between 0 and 1, got 1"),
    ],
)
def test_refuses(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RatedClickLoss(4, **settings)
