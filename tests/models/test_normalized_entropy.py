import math

import pytest
import torch

from torchtowers.models.normalized_entropy import NormalizedEntropy


def test_values_worked_out_by_hand() -> None:
    metric = NormalizedEntropy()
    metric.update(torch.tensor([0.5, 0.25]), torch.tensor([1, 0]))
    metric.update(torch.tensor([[0.8], [0.5]]), torch.tensor([[0.0], [0.0]]))
    loss = -(math.log(0.5) + math.log(0.75) + math.log(0.2) + math.log(0.5)) / 4
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert float(metric.compute()) == pytest.approx(loss / entropy, rel=1e-5)


def test_the_base_rate_itself_gives_1() -> None:
    metric = NormalizedEntropy()
    metric.update(torch.full((5,), 0.2), torch.tensor([1, 0, 0, 0, 0]))
    assert float(metric.compute()) == pytest.approx(1, abs=1e-5)


def test_logits_give_what_their_probabilities_give() -> None:
    logits, labels = torch.tensor([-1.0, 0.3, 2.0]), torch.tensor([0, 1, 1])
    by_logit, by_probability = NormalizedEntropy(from_logits=True), NormalizedEntropy()
    by_logit.update(logits, labels)
    by_probability.update(logits.sigmoid(), labels)
    assert float(by_logit.compute()) == pytest.approx(float(by_probability.compute()), rel=1e-5)


def test_weights_count_as_repetitions() -> None:
    weighted, repeated = NormalizedEntropy(), NormalizedEntropy()
    predictions, labels = torch.tensor([0.9, 0.4]), torch.tensor([1, 0])
    weighted.update(predictions, labels[:, None], torch.tensor([[3.0], [1.0]]))
    repeated.update(predictions[[0, 0, 0, 1]], labels[[0, 0, 0, 1]])
    assert float(weighted.compute()) == pytest.approx(float(repeated.compute()), rel=1e-6)


def test_labels_all_alike_give_no_figure() -> None:
    for labels in (torch.ones(2), torch.zeros(2), torch.ones(0)):
        metric = NormalizedEntropy()
        metric.update(torch.full_like(labels, 0.3), labels)
        assert metric.compute().isnan()


def test_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="need the same shape"):
        NormalizedEntropy().update(torch.ones(2), torch.ones(3))
    for weights in (torch.ones(2), torch.ones(1), torch.ones(1, 3), torch.tensor(1.0)):
        with pytest.raises(ValueError, match=r"sample_weight has to be \[3\] or \[3, 1\]"):
            NormalizedEntropy().update(torch.ones(3), torch.ones(3), weights)
