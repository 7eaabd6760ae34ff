"""Retrieval and ratings together: what each weight does, and that both are learnt."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchtowers.data.batches import Batch
from torchtowers.data.ranking_batch import RatedBatch
from torchtowers.handlers.encoders import TokenEncoder, Vocabulary
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.multi_task import MultiTask, build_multi_task
from torchtowers.models.pointwise_losses import MeanSquaredError
from torchtowers.models.ranking import Ranking
from torchtowers.models.retrieval import Retrieval
from torchtowers.models.sparse_adagrad import SparseAdagrad

USERS, ITEMS = 40, 20


def built(**settings: Any) -> MultiTask:
    torch.manual_seed(0)
    return build_multi_task(
        {"user": TokenEncoder(Vocabulary([f"u{number}" for number in range(USERS)]))},
        {"item": TokenEncoder(Vocabulary([f"i{number}" for number in range(ITEMS)]))},
        query_key="user",
        candidate_key="item",
        **{"embedding_dim": 8, "dim": 8, "rating_hidden": [16], **settings},
    )


def pairs(size: int = 256) -> RatedBatch:
    """Users choose items that leave the same rest divided by 4; those below 10 are rated 5, others 1."""
    random = np.random.default_rng(0)
    items = random.integers(0, ITEMS, size)
    users = items % 4 + 4 * random.integers(0, USERS // 4, size)
    ratings = np.where(items < ITEMS // 2, 5, 1).astype(np.float32)
    probability = np.full(size, 1 / ITEMS, dtype=np.float32)
    return RatedBatch(Batch({"user": users + 2}, {"item": items + 2}, items, probability), ratings)


def parts(model: MultiTask, batch: RatedBatch) -> tuple[float, float]:
    """Both losses, computed from outside."""
    query, candidate = to_tensors(batch.pairs.query), to_tensors(batch.pairs.candidate)
    with torch.no_grad():
        retrieval = model.retrieval(
            model.query_tower(query),
            model.candidate_tower(candidate),
            candidate_sampling_probability=torch.full((len(batch.ratings),), 1 / ITEMS),
            candidate_ids=torch.from_numpy(batch.pairs.items),
        )
        errors = model(query, candidate) - torch.from_numpy(batch.ratings)
    return retrieval.item(), errors.square().mean().item()


def fitted(model: MultiTask) -> MultiTask:
    batch, optimizer = pairs(), SparseAdagrad(model.parameters(), lr=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        torch.autograd.backward(model.compute_loss(batch))
        optimizer.step()
    return model


@pytest.mark.parametrize(("retrieval", "rating"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 2.0)])
def test_the_loss_is_the_weighted_sum(retrieval: float, rating: float) -> None:
    model, batch = built(retrieval_weight=retrieval, rating_weight=rating), pairs()
    first, second = parts(model, batch)
    expected = retrieval * first + rating * second
    assert model.compute_loss(batch).item() == pytest.approx(expected, rel=1e-5)


def test_both_losses_fall_together() -> None:
    before = parts(built(), pairs())
    after = parts(fitted(built(rating_weight=0.1)), pairs())
    assert after[0] < 0.9 * before[0]
    assert after[1] < 0.2 * before[1]


def test_each_task_alone_learns_its_own_loss_only() -> None:
    before = parts(built(), pairs())
    retrieving = parts(fitted(built(rating_weight=0.0)), pairs())
    assert retrieving[0] < 0.9 * before[0]
    assert retrieving[1] > 0.5 * before[1]
    rating = parts(fitted(built(retrieval_weight=0.0)), pairs())
    assert rating[1] < 0.2 * before[1]
    assert rating[0] > 0.97 * before[0]


def test_losses_that_do_not_reduce_are_not_summed_unnoticed() -> None:
    model = built(ranking=Ranking(MeanSquaredError(reduction="none")))
    assert model.compute_loss(pairs()).shape == (256,)


class Untouched(nn.Module):
    def forward(self, *_: object, **__: object) -> Tensor:
        raise AssertionError("a task of weight 0 was computed")


def test_a_loss_of_weight_0_is_not_computed() -> None:
    model = built(rating_weight=0.0)
    model.rating = Untouched()
    model.ranking = Untouched()  # type: ignore[assignment]
    torch.autograd.backward(model.compute_loss(pairs()))
    model = built(retrieval_weight=0.0)
    model.retrieval = Untouched()  # type: ignore[assignment]
    torch.autograd.backward(model.compute_loss(pairs()))


def test_ratings_keep_the_dimension_of_a_batch_of_one() -> None:
    model, batch = built().eval(), pairs()
    query, candidate = to_tensors(batch.pairs.query), to_tensors(batch.pairs.candidate)
    many = model(query, candidate)
    assert many.shape == (256,)
    alone = model({"user": query["user"][:1]}, {"item": candidate["item"][:1]})
    torch.testing.assert_close(alone, many[:1])


def test_batches_need_no_sampling_probability() -> None:
    batch = pairs()
    plain = RatedBatch(replace(batch.pairs, probability=None), batch.ratings)
    # One probability for all items corrects nothing.
    assert built().compute_loss(plain).item() == pytest.approx(built().compute_loss(batch).item(), rel=1e-5)


def test_torchscript_is_equal_to_eager() -> None:
    model, batch = built().eval(), pairs()
    query, candidate = to_tensors(batch.pairs.query), to_tensors(batch.pairs.candidate)
    scripted = torch.jit.script(model)
    for _ in range(3):
        torch.testing.assert_close(scripted(query, candidate), model(query, candidate))


@pytest.mark.parametrize(("retrieval", "rating"), [(0.0, 0.0), (-1.0, 2.0)])
def test_weights_of_no_use_are_refused(retrieval: float, rating: float) -> None:
    with pytest.raises(ValueError, match=f"got {retrieval} for retrieval and {rating} for ratings"):
        MultiTask(
            nn.Identity(),
            nn.Identity(),
            nn.Identity(),
            retrieval=Retrieval(),
            ranking=Ranking(MeanSquaredError()),
            retrieval_weight=retrieval,
            rating_weight=rating,
        )
