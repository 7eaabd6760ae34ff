"""What a ranking model takes of items, all at once, is what encoding their ids one by one gives."""

from pathlib import Path

import numpy as np
import pytest

from tests.handlers.small_ranking import item_spec, small_scorer
from tests.handlers.small_two_stage import small_combined_signature
from torchtowers.handlers.arrays import save_array
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import ArtifactError, SignatureError
from torchtowers.handlers.item_inputs import ItemInputs
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.tower_scorer import TowerScorer


@pytest.fixture
def scorer(tmp_path: Path) -> TowerScorer:
    """The small ranking model, with its files."""
    return small_scorer(tmp_path)


def test_known_and_unknown_items_by_hand(scorer: TowerScorer) -> None:
    items = ItemInputs(scorer.item, np.array([0, 1, 2, -1]), np.array([2, 3, 4, 1]))
    taken = items.take(np.array([3, 0, 1, 0]))
    assert {name: values.tolist() for name, values in taken.items()} == {
        "item_id": [1, 2, 3, 2],
        "year": [0, 1, 2, 1],
    }
    assert len(items.take(np.empty(0, np.int64))["year"]) == 0


def test_what_is_nowhere_kept_is_missing(tmp_path: Path) -> None:
    small_scorer(tmp_path)
    spec = item_spec()
    bare = QueryEncoder(type(spec)(spec.key, spec.ids, spec.features), tmp_path, None)
    taken = ItemInputs(bare, np.array([0, 1]), np.array([2, 3])).take(np.array([1, 0]))
    assert taken["year"].tolist() == [0, 0]


@pytest.mark.parametrize("batch", [1, 3, 60])
def test_items_of_a_trained_model(ranking_artifact: Path, batch: int) -> None:
    """Texts, lists of different lengths, an empty one, a missing year."""
    ranker = CandidateRanker.load(ranking_artifact)
    item, names = ranker.item, [*ranker.item.tokens, "no such item"]
    rows = np.array([*range(len(item.tokens)), -1])
    ids = np.array([item.encoders["item_id"].encode_value(name, "item_id") for name in names])
    taken_rows = np.random.default_rng(batch).integers(0, len(names), batch)
    taken_rows[-1] = len(names) - 1
    taken = ItemInputs(item, rows, ids).take(taken_rows)
    expected = item.stack([item.encode(Row({"item_id": names[row]}, k=1)) for row in taken_rows])
    assert taken.keys() == expected.keys()
    for name, values in expected.items():
        assert taken[name].dtype == values.dtype
        np.testing.assert_array_equal(taken[name], values, err_msg=name)


def test_rows_of_numbers_of_an_unknown_key(tmp_path: Path) -> None:
    column = LookupColumn(np.array([[1, 2], [3, 4]], np.float32), None)
    assert column.take(np.array([1, -1]), [0.0, 1.0]).tolist() == [[3, 4], [0, 1]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 1, 2], "expected 4 items, got 3"),
        ([0, 1, 2, 4], "expected rows from -1 to 3, got 0 to 4"),
        ([0, 1, 2, -2], "expected rows from -1 to 3, got -2 to 2"),
    ],
)
def test_refuses_rows_that_do_not_fit(
    scorer: TowerScorer, tmp_path: Path, rows: list[int], message: str
) -> None:
    save_array(tmp_path, "items/rows.npy", np.array(rows))
    save_array(tmp_path, "items/ids.npy", np.array([2, 3, 4, 1]))
    with pytest.raises(ArtifactError, match=message):
        ItemInputs.load(tmp_path, small_combined_signature(), scorer.item, items=4)


def test_refuses_ids_that_do_not_fit(scorer: TowerScorer, tmp_path: Path) -> None:
    save_array(tmp_path, "items/rows.npy", np.array([0, 1, 2, -1]))
    save_array(tmp_path, "items/ids.npy", np.array([2, 3, 4, 6]))
    with pytest.raises(ArtifactError, match="expected rows from 0 to 5, got 2 to 6"):
        ItemInputs.load(tmp_path, small_combined_signature(), scorer.item, items=4)
    with pytest.raises(SignatureError, match=r"item_ids in signature.json has to be there"):
        ItemInputs(scorer.item, np.array([0]), None)
