import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError

from torchtowers.models.calibration import Calibration


def test_values_worked_out_by_hand() -> None:
    metric = Calibration()
    metric.update(torch.tensor([0.5, 0.7]), torch.tensor([1, 0]))
    metric.update(torch.tensor([[0.3]]), torch.tensor([1]), torch.tensor([2.0]))
    assert float(metric.compute()) == pytest.approx((0.5 + 0.7 + 2 * 0.3) / (1 + 0 + 2 * 1))


def test_the_expected_calibration_error_of_torchmetrics_is_that_of_clicks() -> None:
    """In bins of a half: 0.1 and 0.3 with a share of 1/2, 0.9 with one of 1; errors 0.3 and 0.1."""
    error = BinaryCalibrationError(n_bins=2)
    error.update(torch.tensor([0.1, 0.3, 0.9]), torch.tensor([0, 1, 1]))
    assert float(error.compute()) == pytest.approx(2 / 3 * 0.3 + 1 / 3 * 0.1)


def test_no_label_above_0_gives_no_figure() -> None:
    metric = Calibration()
    metric.update(torch.tensor([0.5]), torch.tensor([0]))
    assert metric.compute().isnan()


def test_numbers_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="2 predictions, 3 labels and 2 weights"):
        Calibration().update(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="2 predictions, 2 labels and 1 weights"):
        Calibration().update(torch.ones(2), torch.ones(2), torch.ones(1))
