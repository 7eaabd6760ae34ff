"""Warm-up and decay."""

import pytest
import torch

from torchtowers.models.schedules import warmup_and_decay


def test_learning_rates_rise_and_fall() -> None:
    schedule = warmup_and_decay(100, warmup=0.1, final=0.2)
    factors = [schedule(step) for step in range(100)]
    assert factors[:10] == sorted(factors[:10])
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0.2 < factors[99] < 0.22
    assert schedule(100) == pytest.approx(0.2)
    # Never below, where it would end in steps backwards.
    assert schedule(1000) == pytest.approx(0.2)


def test_by_default_nothing_changes() -> None:
    schedule = warmup_and_decay(3)
    assert [schedule(step) for step in range(3)] == [1.0, 1.0, 1.0]


def test_it_fits_torchs_scheduler() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=2.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_and_decay(4, final=0.0))
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [2.0, 1.5, 1.0, 0.5]


@pytest.mark.parametrize(("steps", "warmup", "final"), [(0, 0.0, 1.0), (1, 1.0, 1.0), (1, 0.0, -0.1)])
def test_what_is_out_of_range_is_refused(steps: int, warmup: float, final: float) -> None:
    with pytest.raises(ValueError, match=f"got {steps}, {warmup} and {final}"):
        warmup_and_decay(steps, warmup=warmup, final=final)
