"""Searches in blocks, histories of other items than the index's, towers that do not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.handlers.small import EMBEDDINGS, small_search
from torchtowers.handlers import tower_search as module
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.request import Row
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.tower_search import TowerSearch
from torchtowers.handlers.vectors import Vectors


@pytest.fixture
def small(tmp_path: Path) -> TowerSearch:
    return small_search(tmp_path)


def found(search: TowerSearch, rows: Any) -> list[tuple[list[int], list[float]]]:
    return [(items.tolist(), scores.tolist()) for items, scores in search.search(rows)]


def test_a_batch_in_blocks_gives_the_same(small: TowerSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    users = ["u1", "new", "u2", "u1", "u2"]
    rows = [small.encoder.encode(Row({"user_id": user}, k=k)) for k, user in enumerate(users, 1)]
    whole = found(small, rows)
    assert len(whole) == len(rows)
    assert found(small, []) == []
    batches: list[int] = []
    tower = small.tower

    def counted(inputs: Mapping[str, Any]) -> Any:
        batches.append(len(inputs["user_id"]))
        return tower(inputs)

    small.tower = counted
    monkeypatch.setattr(module, "_MAX_SCORES", 8)  # two rows of four items
    assert found(small, rows) == whole
    assert batches == [2, 2, 1]


def test_items_without_history_index_are_never_excluded_by_it(small: TowerSearch) -> None:
    index = ExactIndex(Vectors(EMBEDDINGS), TokenTable.of(["10", "11", "other", "13"]))
    without = TowerSearch(small.encoder, small.tower, index)
    row = small.encoder.encode(Row({"user_id": "u1"}, k=4, exclude_history=True))
    ((items, _),) = found(without, [row])
    assert items == [2, 3]


def test_refuses_a_tower_of_another_dimension(small: TowerSearch) -> None:
    with pytest.raises(ArtifactError, match=r"gives \(1, 3\) for one row, the index needs \(1, 2\)"):
        TowerSearch(small.encoder, lambda inputs: np.zeros((1, 3), np.float32), small.index)


def test_refuses_a_tower_of_other_features(small: TowerSearch) -> None:
    def tower(inputs: Mapping[str, Any]) -> Any:
        return inputs["gender"]

    with pytest.raises(ArtifactError, match="does not take the signature's features: 'gender'"):
        TowerSearch(small.encoder, tower, small.index)
