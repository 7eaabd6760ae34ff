import pytest
import torch

from torchtowers.models.frequency import StreamingFrequency


def test_an_item_of_every_third_batch_has_a_third() -> None:
    frequency = StreamingFrequency(1 << 12, learning_rate=0.2)
    for step in range(300):
        frequency.update(torch.tensor([7, 7] if step % 3 == 0 else [8]))
    estimated = frequency.probability(torch.tensor([7, 8]))
    torch.testing.assert_close(estimated[0], torch.tensor(1 / 3), rtol=0.02, atol=0)
    # Item 8 comes twice and then stays away once: gaps of 1 and 2 in turn.
    assert 0.6 < estimated[1] < 0.75


def test_the_first_gap_by_hand() -> None:
    frequency = StreamingFrequency(64, tables=1, learning_rate=0.5, initial_gap=10.0)
    frequency.update(torch.tensor([3]))
    # Half of the way from a gap of 10 to one of 1 step.
    torch.testing.assert_close(frequency.probability(torch.tensor([3])), torch.tensor([1 / 5.5]))


def test_estimates_of_a_skewed_stream_are_close() -> None:
    generator = torch.Generator().manual_seed(1)
    weights = 1.0 / torch.arange(1, 501)
    frequency = StreamingFrequency(1 << 14, learning_rate=0.01)
    for _ in range(3000):
        frequency.update(torch.multinomial(weights, 32, replacement=True, generator=generator))
    true = 1 - (1 - weights / weights.sum()) ** 32
    head = torch.arange(50)
    ratio = frequency.probability(head) / true[head]
    assert ratio.log().abs().median() < 0.15
    assert ratio.log().abs().max() < 0.7


def test_steps_are_counted_past_what_single_precision_can() -> None:
    frequency = StreamingFrequency(64, tables=1, learning_rate=1.0)
    frequency.step.fill_(1 << 24)
    frequency.update(torch.tensor([3]))
    for _ in range(3):
        frequency.update(torch.tensor([], dtype=torch.int64))
    frequency.update(torch.tensor([3]))
    assert int(frequency.step) == (1 << 24) + 5
    assert frequency.probability(torch.tensor([3])).tolist() == [0.25]


def test_the_largest_gap_of_several_tables_counts() -> None:
    """With a collision in one table the others still know better (Yi et al. 2019, algorithm 3)."""
    frequency = StreamingFrequency(8, tables=2, learning_rate=1.0)
    rows = frequency._rows(torch.arange(1000))
    collides = (rows[0] == rows[0][0]) & (rows[1] != rows[1][0])
    other = int(collides.nonzero()[0])
    frequency.update(torch.tensor([0]))
    for _ in range(4):
        frequency.update(torch.tensor([other]))
    frequency.update(torch.tensor([0]))
    assert frequency.gap[0, rows[0][0]] == 1
    assert frequency.probability(torch.tensor([0])).tolist() == [pytest.approx(1 / 5)]


def test_a_resumed_estimator_goes_on_where_it_was() -> None:
    one, other = StreamingFrequency(128), StreamingFrequency(128)
    one.update(torch.tensor([1, 2, 3]))
    other.load_state_dict(one.state_dict())
    for frequency in (one, other):
        frequency.update(torch.tensor([2, 9]))
    items = torch.arange(12)
    assert torch.equal(one.probability(items), other.probability(items))


@pytest.mark.parametrize(
    "settings", [{"buckets": 0}, {"buckets": 4, "tables": 0}, {"buckets": 4, "learning_rate": 0.0}]
)
def test_settings_of_no_use_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"(have|has) to be"):
        StreamingFrequency(**settings)  # type: ignore[arg-type]


def test_an_item_is_the_same_in_every_type_of_integer() -> None:
    frequency = StreamingFrequency(1000)
    items = torch.arange(50)
    for _ in range(2):
        frequency.update(items.int())
    assert (frequency.probability(items) > 0.011).all()
    assert torch.equal(frequency.probability(items.int()), frequency.probability(items))
