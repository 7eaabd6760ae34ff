"""Candidates and options of a ranking request, and the errors for those that can't be answered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_values, small_encoders, texts
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.errors import FieldError, LimitError, RequestError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.ranking_request import OPTIONS, Candidate, RankingRow, ranking_rows_of
from torchtowers.handlers.request import RESERVED

LIMITS = Limits(max_rows=3, max_candidates=4, max_scores=6)
QUERY = {name: small_encoders()[name] for name in ("user_id", "age")}
ITEM = ("item_id", "year")


def read(body: object) -> Request[RankingRow]:
    return ranking_rows_of(body, LIMITS, QUERY, ITEM, "item_id")


def test_a_plain_row() -> None:
    candidates = (
        Candidate("50", None, "candidates[0]"),
        Candidate("7", {"item_id": 7, "year": 1990}, "candidates[1]"),
    )
    body = {"user_id": "196", "candidates": ["50", {"item_id": 7, "year": 1990}], "k": 1}
    assert read(body) == Request("plain", (RankingRow({"user_id": "196"}, candidates, 1),))


def test_candidates_beside_instances_hold_for_rows_without_their_own() -> None:
    request = read({"instances": [{"user_id": "1"}, {"candidates": ["c"]}], "candidates": ["a", 5]})
    assert request.dialect == "instances"
    assert [[candidate.id for candidate in row.candidates] for row in request.rows] == [["a", "5"], ["c"]]
    assert [row.place for row in request.rows] == ["instances[0].", "instances[1]."]


def test_all_candidates_are_asked_for_where_k_is_not_set() -> None:
    assert read({"candidates": ["a", "b"]}).rows[0].k is None
    assert read({"candidates": ["a", "b"], "k": None}).rows[0].k is None
    assert read({"candidates": ["a", "b"], "k": 2}).rows[0].k == 2


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"user_id": "1"}, "candidates", "missing; every row needs a list of candidates"),
        ({"candidates": None}, "candidates", "missing"),
        ({"instances": [{"candidates": ["a"]}, {}]}, "instances[1].candidates", "missing"),
        ({"candidates": []}, "candidates", "expected a list of candidates, each an item id"),
        ({"candidates": "50"}, "candidates", "expected a list of candidates"),
        ({"candidates": {"item_id": "50"}}, "candidates", "expected a list of candidates"),
        ({"instances": [{}], "candidates": []}, "candidates", "expected a list of candidates"),
        ({"candidates": ["1", None]}, "candidates[1]", "expected an item id (a string or an integer), or"),
        ({"candidates": [""]}, "candidates[0]", "expected an item id"),
        ({"candidates": [True]}, "candidates[0]", "expected an item id"),
        ({"candidates": [1.5]}, "candidates[0]", "expected an item id"),
        ({"candidates": [["1"]]}, "candidates[0]", "expected an item id"),
        ({"candidates": [{}]}, "candidates[0].item_id", "expected its id, a string or an integer, got None"),
        ({"candidates": [{"item_id": []}]}, "candidates[0].item_id", "expected its id"),
        (
            {"candidates": [{"item_id": "1", "age": 5}]},
            "candidates[0].age",
            "expected a known field (item_id",
        ),
        ({"candidates": ["1"], "year": 5}, "year", "expected a known field (user_id, age, candidates, k)"),
        ({"candidates": ["1"], "exclude": []}, "exclude", "expected a known field"),
        ({"candidates": ["1"], "k": 0}, "k", "expected an integer from 1 to the number of candidates, got 0"),
        ({"candidates": ["1"], "k": True}, "k", "expected an integer from 1"),
        ({"candidates": ["1"], "k": "1"}, "k", "expected an integer from 1"),
        ({"candidates": ["1"], "k": 2}, "k", "expected at most 1, the number of candidates, got 2"),
        ({"instances": [{"candidates": ["1"]}], "k": 2}, "instances[0].k", "expected at most 1"),
        ({"instances": [{}], "parameters": {"candidates": [{}]}}, "parameters.candidates[0].item_id", "exp"),
    ],
)
def test_names_field_value_and_what_was_expected(body: object, field: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        read(body)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: {message}")
    assert caught.value.code == 400


def test_refuses_more_than_the_limits_allow() -> None:
    with pytest.raises(LimitError, match="candidates: at most 4 candidates a row, got 5"):
        read({"candidates": ["a"] * 5})
    with pytest.raises(LimitError, match="instances: at most 3 rows a request, got 4"):
        read({"instances": [{}] * 4, "candidates": ["a"]})
    with pytest.raises(LimitError, match="candidates: at most 6 in all rows of a request together, got 8"):
        read({"instances": [{}, {}], "candidates": ["a"] * 4})
    assert len(read({"instances": [{}, {}], "candidates": ["a"] * 3}).rows) == 2


def test_what_a_ranking_row_takes_for_itself_is_reserved_for_every_kind() -> None:
    assert set(OPTIONS) <= set(RESERVED)


candidates = st.lists(texts | st.integers() | st.dictionaries(st.sampled_from(ITEM) | texts, json_values))
bodies = st.dictionaries(
    st.sampled_from([*OPTIONS, *QUERY, "parameters", "instances"]) | texts,
    json_values | candidates,
    max_size=4,
)


@examples(300)
@given(json_values | bodies | st.fixed_dictionaries({"instances": st.lists(bodies, max_size=3)}))
def test_any_json_gives_rows_or_a_request_error(body: Any) -> None:
    try:
        request = read(body)
    except RequestError as error:
        assert 400 <= error.code < 500  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017
        return
    assert 1 <= len(request.rows) <= LIMITS.max_rows
    for row in request.rows:
        assert row.features.keys() <= set(QUERY)
        assert 1 <= len(row.candidates) <= LIMITS.max_candidates
        assert row.k is None or 1 <= row.k <= len(row.candidates)
        assert all(candidate.id for candidate in row.candidates)
