import math

import pytest
import torch

from torchtowers.models.catalogue_softmax import catalogue_softmax

SCORES = torch.tensor([[0.2, -1.0, 0.7, 0.4], [1.0, 0.0, 0.5, -0.3]])
TARGETS = torch.tensor([[0, 0, 1], [0, 2, 1]])
SHOWN = torch.tensor([[0, 1], [3, 0]])


def test_targets_compete_with_all_that_is_not_shown_and_users_weigh_by_the_root_of_their_items() -> None:
    losses = []
    for row, column in TARGETS.T.tolist():
        hidden = SHOWN[1][SHOWN[0] == row].tolist()
        logits = {place: value / 0.5 for place, value in enumerate(SCORES[row].tolist())}
        total = math.log(sum(math.exp(value) for place, value in logits.items() if place not in hidden))
        losses.append(total - logits[column])
    root = 1 / math.sqrt(2)
    expected = (root * losses[0] + root * losses[1] + losses[2]) / (2 * root + 1)
    found = catalogue_softmax(SCORES, TARGETS, SHOWN, torch.ones(4), temperature=0.5)
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_a_sample_stands_for_the_whole_catalogue() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, 400, generator=generator)
    targets = torch.tensor([[0], [0]])
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    whole = catalogue_softmax(scores, targets, nothing, torch.ones(400))
    found = []
    for _ in range(300):
        sample = torch.cat(
            [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(399, generator=generator)[:133]]
        )
        probability = torch.full((134,), 133 / 399)
        probability[0] = 1.0
        loss = catalogue_softmax(scores[:, sample], targets, nothing, probability)
        found.append(math.exp(float(loss)))
    assert sum(found) / len(found) == pytest.approx(math.exp(float(whole)), rel=0.02)


def test_a_temperature_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive, got 0"):
        catalogue_softmax(SCORES, TARGETS, SHOWN, torch.ones(4), temperature=0)
