import math

import torch

from torchtowers.models.losses import correct_sampling, remove_accidental_hits


def test_sampling_correction_subtracts_the_log_and_clips() -> None:
    logits = torch.zeros(1, 3)
    corrected = correct_sampling(logits, torch.tensor([0.5, 0.0, 2.0]))
    expected = [-math.log(0.5), -math.log(1e-6), 0.0]
    torch.testing.assert_close(corrected, torch.tensor([expected]))


def test_only_the_same_item_elsewhere_is_removed() -> None:
    logits = torch.arange(6.0).reshape(2, 3)
    # Item 7 is the positive of row 0 and comes again as an extra candidate; row 1's own item does not.
    removed = remove_accidental_hits(logits, torch.tensor([7, 8, 7]))
    assert removed.tolist() == [[0.0, 1.0, -math.inf], [3.0, 4.0, 5.0]]
