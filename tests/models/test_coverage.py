import pytest
import torch

from torchtowers.models.brute_force import BruteForce
from torchtowers.models.coverage import CatalogueCoverage


def figures(metric: CatalogueCoverage) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


def test_values_worked_out_by_hand() -> None:
    metric = CatalogueCoverage(items=5, ks=(1, 3))
    metric.update(torch.tensor([[4, 0, 1]]))
    metric.update(torch.tensor([[4, 1, -1], [2, -1, -1]]))
    found = figures(metric)
    assert found["coverage@1"] == pytest.approx(2 / 5)
    assert found["coverage@3"] == pytest.approx(4 / 5)
    # Counts 0, 0, 0, 1, 2 in order: the differences of all 25 ordered pairs add up to 2 * 10, and
    # 20 / (2 * 25 * mean of 3 / 5) = 2 / 3.
    assert found["gini@1"] == pytest.approx(2 / 3)
    # Counts 0, 1, 1, 2, 2: differences 2 * 10 / 2 * ... = 2 * (1 + 1 + 2 + 2 + 1 + 1 + 1 + 1) = 20.
    assert found["gini@3"] == pytest.approx(20 / (2 * 25 * 6 / 5))


def test_every_item_as_often_is_even() -> None:
    metric = CatalogueCoverage(items=3, ks=(3,))
    metric.update(torch.tensor([[0, 1, 2], [2, 1, 0]]))
    assert figures(metric) == {"coverage@3": 1.0, "gini@3": 0.0}


def test_nothing_counted_is_nothing_covered() -> None:
    metric = CatalogueCoverage(items=3)
    metric.update(torch.empty(0, 10, dtype=torch.int64))
    metric.update(torch.full((1, 10), -1))
    assert figures(metric) == {"coverage@10": 0.0, "gini@10": 0.0}


def test_what_an_index_found_counts_as_its_rows_do() -> None:
    index = BruteForce(torch.tensor([[1.0], [3.0], [2.0]]), ["a", "b", "c"])
    found = index.search(torch.ones(2, 1), 2, exclude=[["b"], ["a", "c"]])
    by_id, by_row = CatalogueCoverage(3, (1, 2), ids=index.ids), CatalogueCoverage(3, (1, 2))
    by_id.update(found)
    by_row.update(torch.tensor([[2, 0], [1, -1]]))
    assert figures(by_id) == figures(by_row)
    assert by_id.clone().compute() == by_id.compute()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item, got 0"):
        CatalogueCoverage(0)
    with pytest.raises(ValueError, match="different numbers of at least 1"):
        CatalogueCoverage(3, ks=())
    with pytest.raises(IndexError, match="item 3 is not among 3 items"):
        CatalogueCoverage(3).update(torch.tensor([[0, 3]]))
