import math

import pytest
import torch

from torchtowers.handlers.encoders import FIRST_TOKEN, TokenEncoder, Vocabulary
from torchtowers.models.mixed_negatives import MixedNegatives, mixed_probability
from torchtowers.models.retrieval import Retrieval


def test_the_mixture_by_hand() -> None:
    # Of 8 candidates 6 come by the batch's probability, 2 evenly from 4 items.
    mixed = mixed_probability(torch.tensor([0.5, 0.25, 0.0]), batch=6, items=4, count=2)
    torch.testing.assert_close(mixed, torch.tensor([3.5 / 8, 2.0 / 8, 0.5 / 8]))


def test_the_mixture_is_a_distribution_and_that_of_the_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    popularity = torch.tensor([0.7, 0.2, 0.1, 0.0, 0.0])
    negatives = MixedNegatives(5, 30, generator=generator)
    mixed = negatives.probability(popularity, batch=10)
    assert float(mixed.sum()) == pytest.approx(1.0)
    counts = torch.zeros(5)
    for _ in range(500):
        batch = torch.multinomial(popularity, 10, replacement=True, generator=generator)
        counts += torch.bincount(torch.cat([batch, negatives.draw()]), minlength=5)
    torch.testing.assert_close(counts / counts.sum(), mixed, rtol=0, atol=0.01)


def test_draws_reach_the_whole_catalogue_and_can_be_repeated() -> None:
    def draw() -> torch.Tensor:
        return MixedNegatives(7, 200, generator=torch.Generator().manual_seed(3)).draw()

    assert set(draw().tolist()) == set(range(7))
    assert torch.equal(draw(), draw())
    assert MixedNegatives(7, 4).draw().dtype == torch.int64


def test_extra_negatives_are_corrected_and_accidental_hits_among_them_left_out() -> None:
    queries, candidates = torch.zeros(2, 3), torch.zeros(4, 3)
    # The first item comes again among the even draws; the last column is an item of no batch.
    ids = torch.tensor([0, 1, 0, 2])
    popularity = torch.tensor([0.75, 0.25, 0.0])
    mixed = MixedNegatives(3, 2).probability(popularity[ids], batch=2)
    loss = Retrieval(remove_accidental_hits=True, reduction="none")(
        queries, candidates, candidate_ids=ids, candidate_sampling_probability=mixed
    )
    one, two, three = (1.5 + 2 / 3) / 4, (0.5 + 2 / 3) / 4, (2 / 3) / 4
    first = math.log((1 / one + 1 / two + 1 / three) * one)
    second = math.log((1 / one + 1 / two + 1 / one + 1 / three) * two)
    torch.testing.assert_close(loss, torch.tensor([first, second]))


def test_numbers_of_no_use_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 4"):
        MixedNegatives(0, 4)
    with pytest.raises(ValueError, match="got 4 and 0"):
        MixedNegatives(4, 0)


def test_rows_of_an_encoder_without_items_are_never_drawn() -> None:
    encoder = TokenEncoder(Vocabulary(["a", "b", "c"]))
    items = torch.from_numpy(encoder.encode(["a", "b", "c"])).tolist()
    negatives = MixedNegatives(encoder.size, 200, first=FIRST_TOKEN)
    assert sorted(set(negatives.draw().tolist())) == items
    # 2 of 202 come by the batch's probability, 200 evenly from 3 items.
    mixed = negatives.probability(torch.tensor([0.5, 0.5, 0.0]), batch=2)
    torch.testing.assert_close(mixed, (torch.tensor([1.0, 1.0, 0.0]) + 200 / 3) / 202)
    assert float(mixed.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("first", [-1, 5, 7])
def test_a_first_row_outside_of_the_table_is_refused(first: int) -> None:
    with pytest.raises(ValueError, match=f"one of the rows 0 to 4, got {first}"):
        MixedNegatives(5, 2, first=first)
