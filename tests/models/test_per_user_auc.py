import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import BinaryAUROC

from torchtowers.models.per_user_auc import PerUserAUC


def test_values_worked_out_by_hand() -> None:
    metric = PerUserAUC()
    # User 3: the positive is above one negative, ties with one and is below one: 1.5 of 3 pairs.
    metric.update(torch.tensor([0.5, 0.2, 0.5, 0.9]), torch.tensor([1, 0, 0, 0]), torch.tensor([3, 3, 3, 3]))
    # User 9: both positives above the negative. Users 1 and 2 have one label only.
    metric.update(
        torch.tensor([[0.7], [0.1], [0.1], [0.4], [0.8]]),
        torch.tensor([[1], [0], [1], [0], [1]]),
        torch.tensor([[9], [9], [1], [2], [9]]),
    )
    assert float(metric.compute()) == pytest.approx((4 * 0.5 + 3 * 1) / 7)


@given(st.integers(0, 2**32 - 1))
def test_it_is_the_weighted_mean_of_torchmetrics_aucs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.randint(0, 6, (60,), generator=generator) / 5
    labels = torch.randint(0, 2, (60,), generator=generator)
    users = torch.randint(-3, 9, (60,), generator=generator)
    metric = PerUserAUC()
    for part in torch.arange(60).chunk(9):
        metric.update(predictions[part], labels[part], users[part])
    total, weight = 0.0, 0
    for user in set(users.tolist()):
        own = users == user
        if 0 < labels[own].sum() < own.sum():
            total += float(BinaryAUROC()(predictions[own], labels[own])) * int(own.sum())
            weight += int(own.sum())
    assert float(metric.compute()) == pytest.approx(total / weight, abs=1e-6)


def test_without_a_user_of_both_labels_there_is_no_figure() -> None:
    metric = PerUserAUC()
    metric.update(torch.empty(0), torch.empty(0), torch.empty(0, dtype=torch.int64))
    assert metric.compute().isnan()
    metric.update(torch.tensor([0.1]), torch.tensor([1]), torch.tensor([0]))
    assert metric.compute().isnan()
    metric.reset()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert metric.compute().isnan()


def test_what_does_not_fit_is_refused() -> None:
    metric, two = PerUserAUC(), torch.ones(2)
    with pytest.raises(ValueError, match="2 predictions, 2 labels and 3 users"):
        metric.update(two, two, torch.ones(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels have to be 0 or 1"):
        metric.update(two, two * 4, torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="some predictions are NaN"):
        metric.update(two * torch.nan, two, torch.ones(2, dtype=torch.int64))
