import pytest
import torch

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.popularity_bias import PopularityBias


def figures(metric: PopularityBias) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


def test_values_worked_out_by_hand() -> None:
    """Interactions have items of popularity 6 six times, 3 three times and 1 once: 46 / 10 on average."""
    metric = PopularityBias(torch.tensor([6, 3, 1, 0]), ks=(1, 2))
    metric.update(torch.tensor([[0, 1]]))
    metric.update(torch.tensor([[2, -1], [0, 3]]))
    found = figures(metric)
    assert found["popularity_bias@1"] == pytest.approx((6 + 1 + 6) / 3 / 4.6)
    assert found["popularity_bias@2"] == pytest.approx((6 + 3 + 1 + 6 + 0) / 5 / 4.6)


def test_what_users_choose_has_no_bias() -> None:
    metric = PopularityBias(torch.tensor([3, 1]), ks=(1,))
    metric.update(torch.tensor([[0], [0], [0], [1]]))
    assert figures(metric) == {"popularity_bias@1": 1.0}


def test_nothing_counted_is_0() -> None:
    metric = PopularityBias(torch.tensor([3, 1]))
    metric.update(torch.full((2, 3), -1))
    assert figures(metric) == {"popularity_bias@10": 0.0}


def test_what_an_index_found_counts_as_its_rows_do() -> None:
    index = BruteForce(torch.tensor([[1.0], [3.0], [2.0]]), ["a", "b", "c"])
    found = index.search(torch.ones(2, 1), 2, exclude=[["b"], ["a", "c"]])
    popularity = torch.tensor([5, 1, 2])
    by_id, by_row = PopularityBias(popularity, (1, 2), ids=index.ids), PopularityBias(popularity, (1, 2))
    by_id.update(found)
    by_row.update(torch.tensor([[2, 0], [1, -1]]))
    assert figures(by_id) == figures(by_row)


def test_what_does_not_fit_is_refused() -> None:
    for popularity in (torch.ones(2, 2), torch.zeros(3), torch.tensor([1, -1]), torch.empty(0)):
        with pytest.raises(ValueError, match=r"popularity has to be \[items\]"):
            PopularityBias(popularity)
    with pytest.raises(IndexError, match="item 2 is not among 2 items"):
        PopularityBias(torch.ones(2)).update(torch.tensor([[2]]))
    with pytest.raises(ValueError, match="different numbers of at least 1"):
        PopularityBias(torch.ones(2), ks=(1, 1))
