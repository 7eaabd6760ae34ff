import math

import pytest
import torch
import torch.nn.functional as F

from torchtowers.models.sampled_losses import bpr, cosine_contrastive, sampled_softmax

POSITIVE = torch.tensor([2.0, 0.5])
NEGATIVES = torch.tensor([[1.0, 3.0], [0.5, -1.0]])
FIRST_ONLY = torch.tensor([[True, False], [False, False]])


def test_bpr_by_hand() -> None:
    expected = [
        (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(1.0))) / 2,
        (math.log(2.0) + math.log1p(math.exp(-1.5))) / 2,
    ]
    torch.testing.assert_close(bpr(POSITIVE, NEGATIVES), torch.tensor(expected))
    torch.testing.assert_close(
        bpr(POSITIVE, NEGATIVES, FIRST_ONLY), torch.tensor([math.log1p(math.exp(-1.0)), 0.0])
    )


def test_sampled_softmax_is_the_cross_entropy_of_the_positive() -> None:
    logits = torch.cat([POSITIVE[:, None], NEGATIVES], 1)
    expected = F.cross_entropy(logits, torch.zeros(2, dtype=torch.int64), reduction="none")
    torch.testing.assert_close(sampled_softmax(POSITIVE, NEGATIVES), expected)
    alone = sampled_softmax(POSITIVE, NEGATIVES, mask=FIRST_ONLY)
    torch.testing.assert_close(alone, torch.tensor([math.log1p(math.exp(-1.0)), 0.0]))


def test_sampled_softmax_corrects_for_how_often_items_are_drawn() -> None:
    corrected = sampled_softmax(
        POSITIVE,
        NEGATIVES,
        positive_probability=torch.tensor([0.5, 0.5]),
        negative_probability=torch.tensor([[0.25, 0.0], [1.0, 0.5]]),
    )
    logs = torch.tensor([[0.25, 1e-6], [1.0, 0.5]]).log()
    torch.testing.assert_close(corrected, sampled_softmax(POSITIVE - math.log(0.5), NEGATIVES - logs))
    with pytest.raises(ValueError, match="or neither"):
        sampled_softmax(POSITIVE, NEGATIVES, positive_probability=torch.tensor([0.5, 0.5]))


def test_cosine_contrastive_by_hand() -> None:
    positive, negatives = torch.tensor([0.9]), torch.tensor([[0.7, 0.2, 0.5]])
    loss = cosine_contrastive(positive, negatives, margin=0.4, negative_weight=2.0)
    torch.testing.assert_close(loss, torch.tensor([0.1 + 2 * (0.3 + 0.1) / 3]))
    masked = cosine_contrastive(positive, negatives, margin=0.4, mask=torch.tensor([[False, True, True]]))
    torch.testing.assert_close(masked, torch.tensor([0.1 + 0.1 / 2]))


@pytest.mark.parametrize("loss", [bpr, sampled_softmax, cosine_contrastive])
def test_gradients_stay_finite_where_everything_is_left_out(loss: object) -> None:
    positive, negatives = POSITIVE.clone().requires_grad_(), NEGATIVES.clone().requires_grad_()
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    loss(positive, negatives, mask=nothing).sum().backward()  # type: ignore[operator]
    assert positive.grad is not None
    assert negatives.grad is not None
    assert torch.isfinite(positive.grad).all()
    assert (negatives.grad == 0).all()
