import io
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchtowers.models.sampled_losses import (
    BPR,
    CosineContrastive,
    SampledSoftmax,
    bpr,
    cosine_contrastive,
    sampled_softmax,
)

POSITIVE = torch.tensor([2.0, 0.5])
NEGATIVES = torch.tensor([[1.0, 3.0], [0.5, -1.0]])
FIRST_ONLY = torch.tensor([[True, False], [False, False]])
LOSSES: list[Any] = [bpr, sampled_softmax, cosine_contrastive]


def test_bpr_by_hand() -> None:
    expected = [
        (math.log1p(math.exp(-1.0)) + math.log1p(math.exp(1.0))) / 2,
        (math.log(2.0) + math.log1p(math.exp(-1.5))) / 2,
    ]
    torch.testing.assert_close(bpr(POSITIVE, NEGATIVES, reduction="none"), torch.tensor(expected))
    torch.testing.assert_close(
        bpr(POSITIVE, NEGATIVES, FIRST_ONLY, reduction="none"),
        torch.tensor([math.log1p(math.exp(-1.0)), 0.0]),
    )


def test_sampled_softmax_is_the_cross_entropy_of_the_positive() -> None:
    logits = torch.cat([POSITIVE[:, None], NEGATIVES], 1)
    own = torch.zeros(2, dtype=torch.int64)
    expected = F.cross_entropy(logits, own, reduction="none")
    torch.testing.assert_close(sampled_softmax(POSITIVE, NEGATIVES, reduction="none"), expected)
    alone = sampled_softmax(POSITIVE, NEGATIVES, mask=FIRST_ONLY, reduction="none")
    torch.testing.assert_close(alone, torch.tensor([math.log1p(math.exp(-1.0)), 0.0]))
    sharp = sampled_softmax(POSITIVE, NEGATIVES, temperature=0.5, reduction="sum")
    torch.testing.assert_close(sharp, F.cross_entropy(2 * logits, own, reduction="sum"))


def test_sampled_softmax_corrects_for_how_often_items_are_drawn() -> None:
    corrected = sampled_softmax(
        POSITIVE,
        NEGATIVES,
        positive_probability=torch.tensor([0.5, 0.5]),
        negative_probability=torch.tensor([[0.25, 0.0], [1.0, 0.5]]),
        temperature=0.5,
    )
    logs = torch.tensor([[0.25, 1e-6], [1.0, 0.5]]).log()
    # The temperature leaves the correction alone, as in the retrieval task.
    torch.testing.assert_close(
        corrected, sampled_softmax(POSITIVE / 0.5 - math.log(0.5), NEGATIVES / 0.5 - logs)
    )
    with pytest.raises(ValueError, match="or neither"):
        sampled_softmax(POSITIVE, NEGATIVES, positive_probability=torch.tensor([0.5, 0.5]))


def test_cosine_contrastive_by_hand() -> None:
    positive, negatives = torch.tensor([0.9]), torch.tensor([[0.7, 0.2, 0.5]])
    loss = cosine_contrastive(positive, negatives, margin=0.4, negative_weight=2.0)
    torch.testing.assert_close(loss, torch.tensor(0.1 + 2 * (0.3 + 0.1) / 3))
    masked = cosine_contrastive(positive, negatives, margin=0.4, mask=torch.tensor([[False, True, True]]))
    torch.testing.assert_close(masked, torch.tensor(0.1 + 0.1 / 2))


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_and_reductions(loss: Any) -> None:
    each = loss(POSITIVE, NEGATIVES, reduction="none")
    weights = torch.tensor([0.25, 3.0])
    assert each.shape == (2,)
    for given in (weights, weights[:, None]):
        torch.testing.assert_close(
            loss(POSITIVE, NEGATIVES, sample_weight=given, reduction="none"), each * weights
        )
    torch.testing.assert_close(loss(POSITIVE, NEGATIVES, sample_weight=torch.tensor(2.0)), 2 * each.mean())
    weighted = loss(POSITIVE, NEGATIVES, sample_weight=weights)
    torch.testing.assert_close(weighted, (each * weights).sum() / 2)
    torch.testing.assert_close(loss(POSITIVE, NEGATIVES, reduction="sum"), each.sum())
    with pytest.raises(ValueError, match='reduction is "median"'):
        loss(POSITIVE, NEGATIVES, reduction="median")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_sequence_is_its_places(loss: Any) -> None:
    torch.manual_seed(0)
    positive, negatives, mask = torch.randn(3, 4), torch.randn(3, 4, 5), torch.rand(3, 4, 5) > 0.5
    present = torch.rand(3, 4) > 0.3
    whole = loss(positive, negatives, mask, present, reduction="none")
    places = loss(positive.flatten(), negatives.flatten(0, 1), mask.flatten(0, 1), reduction="none")
    torch.testing.assert_close(whole, places.reshape(3, 4) * present)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_stay_finite_where_everything_is_left_out(loss: Any) -> None:
    positive, negatives = POSITIVE.clone().requires_grad_(), NEGATIVES.clone().requires_grad_()
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    loss(positive, negatives, mask=nothing).backward()
    assert positive.grad is not None
    assert negatives.grad is not None
    assert torch.isfinite(positive.grad).all()
    assert (negatives.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_what_does_not_fit_is_refused(loss: Any) -> None:
    for positive, negatives in ((POSITIVE[:, None], NEGATIVES), (POSITIVE[:1], NEGATIVES)):
        with pytest.raises(ValueError, match="one dimension more"):
            loss(positive, negatives)
    with pytest.raises(ValueError, match=r"mask \[2\] and negatives \[2, 2\]"):
        loss(POSITIVE, NEGATIVES, mask=FIRST_ONLY[0])
    with pytest.raises(ValueError, match=r"sample_weight has shape \[3\]"):
        loss(POSITIVE, NEGATIVES, sample_weight=torch.ones(3))


def test_a_temperature_of_no_use_is_refused() -> None:
    with pytest.raises(ValueError, match=r"temperature is 0\.0"):
        sampled_softmax(POSITIVE, NEGATIVES, temperature=0.0)


@pytest.mark.parametrize(
    ("module", "function", "settings"),
    [
        (BPR, bpr, {"reduction": "sum"}),
        (SampledSoftmax, sampled_softmax, {"temperature": 0.3, "reduction": "none"}),
        (CosineContrastive, cosine_contrastive, {"margin": 0.2, "negative_weight": 3.0, "reduction": "sum"}),
    ],
)
def test_a_module_is_its_function_and_scripts(
    module: type[nn.Module], function: Any, settings: dict[str, Any]
) -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module(**settings)), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for batch in (1, 3, 2):
        given = (torch.randn(batch), torch.randn(batch, 4), torch.rand(batch, 4) > 0.3, torch.rand(batch))
        for called in (module(**settings), scripted):
            torch.testing.assert_close(called(*given), function(*given, **settings))
            torch.testing.assert_close(called(*given[:2]), function(*given[:2], **settings))
    if module is SampledSoftmax:
        drawn = (None, None, torch.rand(2), torch.rand(2, 4))
        torch.testing.assert_close(scripted(*given[:2], *drawn), function(*given[:2], *drawn, **settings))


def test_a_temperature_of_no_use_is_refused_at_once() -> None:
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"temperature is {temperature}; give a number above 0"):
            SampledSoftmax(temperature=temperature)
