"""From a body to the scores of its candidates: by hand with the small model, and with a real artifact."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.handlers.small_ranking import item_spec, small_ranker, small_ranking_model, small_ranking_signature
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import ArtifactError, FieldError, InternalError, LimitError, SignatureError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Row
from torchtowers.handlers.signature import Signature


@pytest.fixture
def small(tmp_path: Path) -> CandidateRanker:
    return small_ranker(tmp_path, limits=Limits(max_candidates=5, max_scores=8, max_rows=3))


# u1 has 220 of its own. The items have 1.25, 2.375, 1.5 and 0.625, an unknown one 0.125.
@pytest.mark.parametrize(
    ("body", "items", "scores"),
    [
        ({"user_id": "u1", "candidates": ["10", "11"]}, ["10", "11"], [221.25, 222.375]),
        ({"user_id": "u1", "candidates": [11, 10]}, ["11", "10"], [222.375, 221.25]),
        ({"user_id": "u1", "candidates": ["13"]}, ["13"], [220.625]),
        ({"user_id": "new", "candidates": ["12", "what"]}, ["12", "what"], [1.5, 0.125]),
        # One that is listed twice is answered twice.
        ({"user_id": "new", "candidates": ["10", "11", "10"]}, ["10", "11", "10"], [1.25, 2.375, 1.25]),
        # The k best, best first; of equal ones the first in the list.
        ({"user_id": "u1", "candidates": ["10", "11", "12"], "k": 2}, ["11", "12"], [222.375, 221.5]),
        ({"user_id": "new", "candidates": ["x", "10", "y"], "k": 3}, ["10", "x", "y"], [1.25, 0.125, 0.125]),
        # A candidate's features go before the known ones; what is not given is looked up.
        (
            {"user_id": "new", "candidates": [{"item_id": "10", "year": 2000}, {"item_id": 10}]},
            ["10", "10"],
            [2.25, 1.25],
        ),
        ({"user_id": "new", "candidates": [{"item_id": "z", "year": 1980}]}, ["z"], [1.125]),
        ({"user_id": "new", "candidates": [{"item_id": "10", "year": None}]}, ["10"], [0.25]),
        # So do the query's.
        ({"user_id": "u1", "age": 20, "history": ["10"], "candidates": ["10"]}, ["10"], [211.25]),
        ({"user_id": "new", "parameters": {"candidates": ["10"]}}, ["10"], [1.25]),
        ({"user_id": "new", "candidates": ["\ud800\u00e9"]}, ["\ud800\u00e9"], [0.125]),
    ],
)
def test_by_hand(small: CandidateRanker, body: dict[str, Any], items: list[str], scores: list[float]) -> None:
    assert small.rank(body) == {"items": items, "scores": scores}


def test_instances_by_hand(small: CandidateRanker) -> None:
    body = {
        "instances": [{"user_id": "u1"}, {"user_id": "u2", "candidates": ["13"]}, {"user_id": "u1", "k": 1}],
        "candidates": ["10", "11"],
    }
    assert small.rank(body) == {
        "predictions": [
            {"items": ["10", "11"], "scores": [221.25, 222.375]},
            {"items": ["13"], "scores": [0.625]},
            {"items": ["11"], "scores": [222.375]},
        ]
    }


def count_calls(encoder: QueryEncoder, monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Give a list that grows by each row that is encoded."""
    encode, calls = encoder.encode, list[Row]()

    def counted(row: Row) -> EncodedRow:
        calls.append(row)
        return encode(row)

    monkeypatch.setattr(encoder, "encode", counted)
    return calls


def test_a_query_is_encoded_once_for_all_its_candidates(
    small: CandidateRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(small.query, monkeypatch)
    small.rank({"user_id": "u1", "candidates": ["10", "11", "12", "13"]})
    assert len(calls) == 1


def test_an_item_that_was_asked_for_is_not_encoded_again(
    small: CandidateRanker, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_calls(small.item, monkeypatch)
    for user in ("u1", "u2"):
        small.rank({"user_id": user, "candidates": ["10", "11", {"item_id": "10", "year": 1}]})
    assert [row.features for row in calls].count({"item_id": "10"}) == 1
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"candidates": ["10"]}, "user_id", "user_id: missing"),
        (
            {"user_id": "u1", "age": "old", "candidates": ["10"]},
            "age",
            "age: expected a finite number, got old",
        ),
        (
            {"user_id": "u1", "candidates": ["10", {"item_id": "11", "year": "new"}]},
            "candidates[1].year",
            "candidates[1].year: expected a finite number, got new",
        ),
        (
            {"instances": [{"user_id": "u1", "candidates": [{"item_id": "1", "year": []}]}]},
            "instances[0].candidates[0].year",
            "instances[0].candidates[0].year: expected a finite number, got []",
        ),
    ],
)
def test_names_the_field_that_is_wrong(
    small: CandidateRanker, body: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(FieldError) as caught:
        small.rank(body)
    assert caught.value.field == field
    assert str(caught.value).startswith(message)


def test_keeps_to_its_limits(small: CandidateRanker) -> None:
    with pytest.raises(LimitError, match="at most 8 in all rows of a request together, got 9"):
        small.rank({"instances": [{"user_id": "u1", "candidates": ["10"] * 3}] * 3})


def test_a_score_that_is_no_number_is_an_error_of_its_row(tmp_path: Path) -> None:
    def broken(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        return np.where(inputs["item_id"] == 5, np.float32("nan"), small_ranking_model(inputs))

    ranker = small_ranker(tmp_path, model=broken)
    request = ranker.read({"instances": [{"user_id": "u1"}, {"user_id": "u2"}], "candidates": ["10", "11"]})
    spoilt = ranker.read({"user_id": "u1", "candidates": ["10", "13"]})
    good, bad, other = ranker.answers([request.rows[0], spoilt.rows[0], request.rows[1]])
    assert isinstance(bad, InternalError)
    assert isinstance(good, bytes)
    assert isinstance(other, bytes)
    with pytest.raises(InternalError):
        ranker.rank({"user_id": "u1", "candidates": ["13"]})


def test_refuses_a_field_that_is_the_querys_and_the_candidates(tmp_path: Path) -> None:
    ranker = small_ranker(tmp_path)
    with pytest.raises(SignatureError, match="age can't be a field of the query and of the candidates"):
        CandidateRanker(ranker.signature, SimpleNamespace(query=ranker.query, item=ranker.query), Limits())


def test_a_signature_comes_back_as_it_was_written(tmp_path: Path) -> None:
    signature = small_ranking_signature()
    signature.write(tmp_path)
    assert Signature.read(tmp_path) == signature
    replace(signature, candidate=None).write(tmp_path)
    with pytest.raises(SignatureError, match="candidate"):
        Signature.read(tmp_path)


def test_what_is_served_is_the_ranker_with_the_inputs_of_candidates() -> None:
    signature = small_ranking_signature()
    towers = {"onnx": {"ranker": "ranker.onnx"}, "torchscript": {"ranker": "ranker.pt"}}
    serving = replace(signature, towers=towers).for_serving("torchscript")
    assert serving.towers == {"torchscript": {"ranker": "ranker.pt"}}
    assert serving.candidate == item_spec()
    assert "lookup/year.values.npy" in serving.used_files()


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_a_real_artifact_answers(ranking_artifact: Path, runtime: str) -> None:
    ranker = CandidateRanker.load(ranking_artifact, runtime=runtime)
    answer = ranker.rank({"user_id": "u3", "candidates": ["100", "no such item", "159"]})
    assert answer["items"] == ["100", "no such item", "159"]
    assert np.isfinite(answer["scores"]).all()
    assert len(set(answer["scores"])) == 3


def test_each_kind_is_loaded_by_its_own_class(artifact: Path, ranking_artifact: Path) -> None:
    with pytest.raises(ArtifactError, match="expected a ranking model, got one of kind 'retrieval'"):
        CandidateRanker.load(artifact)
    with pytest.raises(ArtifactError, match="expected a retrieval model, got one of kind 'ranking'"):
        Recommender.load(ranking_artifact)


def test_ids_that_no_item_has_take_no_memory(tmp_path: Path) -> None:
    ranker = small_ranker(tmp_path)
    known = ranker.rank({"user_id": "u1", "candidates": ["new"]})["scores"]
    kept = ranker._known.cache_info().currsize
    assert ranker.rank({"user_id": "u1", "candidates": ["x" * 100_000]})["scores"] == known
    assert ranker._known.cache_info().currsize == kept
