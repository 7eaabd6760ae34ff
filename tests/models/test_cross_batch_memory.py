import io

import pytest
import torch
from torch import Tensor

from torchtowers.models.cross_batch_memory import CrossBatchMemory
from torchtowers.models.retrieval import Retrieval


def batch(first: int, count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.arange(first, first + count)
    return ids[:, None].float().expand(count, 3).clone(), ids, ids / 100


def test_past_candidates_follow_the_batch_and_the_oldest_make_way() -> None:
    memory = CrossBatchMemory(3, 3)
    embeddings, ids, probability = memory(*batch(0))
    assert ids.tolist() == [0, 1]
    embeddings, ids, probability = memory(*batch(2))
    assert ids.tolist() == [2, 3, 0, 1]
    embeddings, ids, probability = memory(*batch(4))
    assert ids[:2].tolist() == [4, 5]
    assert sorted(ids[2:].tolist()) == [1, 2, 3]
    assert embeddings[:, 0].tolist() == ids.tolist()
    torch.testing.assert_close(probability, ids / 100)


def test_of_a_batch_larger_than_the_memory_the_last_stay() -> None:
    memory = CrossBatchMemory(3, 3)
    memory(*batch(0, 5))
    assert sorted(memory(*batch(9))[1][2:].tolist()) == [2, 3, 4]


def test_nothing_is_added_before_the_warm_up_is_over() -> None:
    memory = CrossBatchMemory(4, 3, warm_up=2)
    assert [len(memory(*batch(2 * step)).candidate_ids) for step in range(4)] == [2, 2, 6, 6]


def test_evaluation_neither_adds_nor_remembers() -> None:
    memory = CrossBatchMemory(4, 3)
    memory(*batch(0))
    memory.eval()
    assert memory(*batch(2)).candidate_ids.tolist() == [2, 3]
    memory.train()
    assert memory(*batch(4)).candidate_ids.tolist() == [4, 5, 0, 1]


def test_a_checkpoint_holds_the_queue() -> None:
    memory, other = CrossBatchMemory(3, 3, warm_up=1), CrossBatchMemory(3, 3, warm_up=1)
    memory(*batch(0))
    memory(*batch(2))
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    for ours, theirs in zip(memory(*batch(4)), other(*batch(4)), strict=True):
        assert torch.equal(ours, theirs)


def test_gradients_reach_the_batch_only_and_the_queue_may_change_before_backward() -> None:
    torch.manual_seed(0)
    memory, task = CrossBatchMemory(2, 3), Retrieval(remove_accidental_hits=True)
    past = torch.randn(2, 3, requires_grad=True)
    memory(past, torch.tensor([7, 8]))
    queries, own = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    extended = memory(own, torch.tensor([8, 9]))
    # Its queue is overwritten; the first row's item is in it and no negative.
    loss = task(queries, **extended._asdict())
    loss.backward()
    scores = queries @ torch.cat([own, past.detach()]).T
    scores[0, 3] = -torch.inf
    expected = torch.nn.functional.cross_entropy(scores, torch.arange(2), reduction="sum")
    torch.testing.assert_close(loss, expected)
    wanted = torch.autograd.grad(expected, [queries, own])
    torch.testing.assert_close([queries.grad, own.grad], list(wanted))
    assert past.grad is None
    assert not memory.embeddings.requires_grad


def test_half_precision_is_remembered() -> None:
    memory = CrossBatchMemory(2, 3)
    memory(torch.ones(1, 3).bfloat16(), torch.tensor([1]))
    assert memory(torch.ones(1, 3).bfloat16(), torch.tensor([2])).candidate_embeddings.dtype == torch.bfloat16


def test_what_does_not_fit_is_refused() -> None:
    memory = CrossBatchMemory(2, 3)
    with pytest.raises(ValueError, match=r"embeddings \[2, 4\]"):
        memory(torch.ones(2, 4), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match=r"probabilities \[\[1\]\]"):
        memory(torch.ones(2, 3), torch.tensor([1]))
    for settings, said in (((0, 3), "got 0 and 3"), ((3, 0), "got 3 and 0")):
        with pytest.raises(ValueError, match=said):
            CrossBatchMemory(*settings)
    with pytest.raises(ValueError, match="got -1"):
        CrossBatchMemory(2, 3, warm_up=-1)


def test_probabilities_come_with_each_batch_or_with_none() -> None:
    embeddings, ids, probability = batch(1)
    without, with_them = CrossBatchMemory(4, 3, warm_up=9), CrossBatchMemory(4, 3)
    without(embeddings, ids)
    with_them(embeddings, ids, probability)
    restored = CrossBatchMemory(4, 3)
    restored.load_state_dict(without.state_dict())
    for memory in (without, restored):
        with pytest.raises(ValueError, match=r"a batch with candidate_sampling.* follows batches without"):
            memory(embeddings, ids, probability)
        assert memory(embeddings, ids).candidate_sampling_probability is None
    with pytest.raises(ValueError, match=r"a batch without candidate_sampling.* follows batches with "):
        with_them(embeddings, ids)
    assert with_them.eval()(embeddings, ids).candidate_sampling_probability is None
