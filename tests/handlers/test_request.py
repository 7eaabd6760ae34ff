"""Rows and options of a request, and the errors for those that can't be answered."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import COLUMNS as SMALL_COLUMNS
from tests.handlers.small import examples, json_values, small_encoders, texts
from torchtowers.handlers.body import json_of
from torchtowers.handlers.dialect import Request
from torchtowers.handlers.errors import BodyError, FieldError, LimitError, RequestError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.request import OPTIONS, RESERVED, Row, rows_of

LIMITS = Limits(default_k=3, max_k=20, max_rows=4, max_exclude=3)
FEATURES = small_encoders()
COLUMNS = {name: SMALL_COLUMNS[name] for name in ("title", "year")}


def read(body: object) -> Request[Row]:
    return rows_of(body, LIMITS, FEATURES, COLUMNS, has_history=True)


def test_a_plain_row() -> None:
    assert read({"user_id": "196"}) == Request("plain", (Row({"user_id": "196"}, k=3),))


def test_options_beside_the_features() -> None:
    body = {
        "user_id": 1,
        "k": 5,
        "exclude": ["10", 11],
        "exclude_history": True,
        "fields": ["year", "title", "year"],
    }
    expected = Row({"user_id": 1}, 5, ("10", 11), True, ("year", "title"))
    assert read(body).rows == (expected,)
    parameters = {name: body.pop(name) for name in OPTIONS if name in body}
    assert read({**body, "parameters": parameters}).rows == (expected,)


def test_an_option_beside_the_features_goes_before_parameters() -> None:
    assert read({"user_id": "1", "k": 5, "parameters": {"k": 6}}).rows[0].k == 5
    assert read({"user_id": "1", "parameters": {"k": 6}}).rows[0].k == 6


def test_a_null_option_is_one_that_is_not_set() -> None:
    nothing = dict.fromkeys([*OPTIONS, "parameters"])
    assert read({"user_id": "1", **nothing}) == read({"user_id": "1"})
    assert read({"user_id": "1", "k": None, "parameters": {"k": 6}}).rows[0].k == 6
    assert read({"user_id": "1", "k": 6, "parameters": {"k": None}}).rows[0].k == 6
    assert read({"k": 6, "instances": [{"user_id": "1", "k": None}]}).rows[0].k == 6


def test_a_null_feature_stays() -> None:
    assert read({"user_id": None, "age": None}).rows[0].features == {"user_id": None, "age": None}


def test_options_beside_instances_hold_for_rows_without_their_own() -> None:
    request = read(
        {
            "instances": [
                {"user_id": "1"},
                {"user_id": "2", "k": 1},
                {"user_id": "3", "parameters": {"k": 2}},
            ],
            "k": 5,
            "parameters": {"fields": ["title"]},
        }
    )
    assert request.dialect == "instances"
    assert [row.k for row in request.rows] == [5, 1, 2]
    assert {row.fields for row in request.rows} == {("title",)}
    assert [row.place for row in request.rows] == ["instances[0].", "instances[1].", "instances[2]."]


@pytest.mark.parametrize("body", [None, [], [{"user_id": "1"}], "user_id", 5, 1.5, True])
def test_refuses_a_body_that_is_no_object(body: object) -> None:
    with pytest.raises(BodyError, match=r'^expected a JSON object such as {"user_id": "196"}, got '):
        read(body)


def test_refuses_no_rows() -> None:
    with pytest.raises(BodyError, match="instances is empty; send at least one row"):
        read({"instances": []})


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"instances": {}}, "instances", "expected a list of objects, got {}"),
        ({"instances": None}, "instances", "expected a list of objects, got None"),
        ({"instances": [{}, ["a"]]}, "instances[1]", "expected an object of features, or an id, got ['a']"),
        ({"instances": [{}], "user_id": "1"}, "user_id", "expected beside instances one of k, exclude"),
        (
            {"instances": [{}], "\ud800" * 99: 1},
            "\\ud800" * 12 + "\\ud80...",
            "expected beside instances one of",
        ),
        ({"instances": [{"instances": []}]}, "instances[0].instances", "expected a known field"),
        ({"usr": "1"}, "usr", "expected a known field (user_id, age, history, k, exclude"),
        ({"x" * 500: "1"}, "x" * 77 + "...", "expected a known field"),
        ({"\ud800": "1"}, "\\ud800", "expected a known field"),
        ({"parameters": []}, "parameters", "expected an object of options, got []"),
        ({"parameters": {"top": 1}}, "parameters.top", "expected one of the options k, exclude"),
        ({"instances": [{"parameters": 1}]}, "instances[0].parameters", "expected an object of options"),
        ({"instances": [{}], "parameters": {"a": 1}}, "parameters.a", "expected one of the options"),
        ({"k": 0}, "k", "expected an integer from 1 to 20, got 0"),
        ({"k": -1}, "k", "expected an integer from 1 to 20, got -1"),
        ({"k": 21}, "k", "expected an integer from 1 to 20, got 21"),
        ({"k": 10**400}, "k", "expected an integer from 1 to 20, got 1000"),
        ({"k": True}, "k", "expected an integer from 1 to 20, got True"),
        ({"k": 5.0}, "k", "expected an integer from 1 to 20, got 5.0"),
        ({"k": "5"}, "k", "expected an integer from 1 to 20, got 5"),
        ({"instances": [{}, {"k": 0}]}, "instances[1].k", "expected an integer from 1 to 20, got 0"),
        # The place is where the option stands, and no row is blamed for one that stands beside them.
        ({"instances": [{}], "k": 0}, "k", "expected an integer from 1 to 20, got 0"),
        ({"instances": [{"k": 1}], "k": 0}, "k", "expected an integer from 1 to 20, got 0"),
        ({"instances": [{}], "parameters": {"k": 0}}, "parameters.k", "expected an integer from 1 to 20"),
        ({"instances": [{}], "exclude": [None]}, "exclude[0]", "expected a string or an integer"),
        ({"user_id": "1", "parameters": {"k": 0}}, "parameters.k", "expected an integer from 1 to 20, got 0"),
        (
            {"instances": [{}, {"parameters": {"k": 0}}], "k": 5},
            "instances[1].parameters.k",
            "expected an integer from 1 to 20, got 0",
        ),
        ({"parameters": {"exclude": [[]]}}, "parameters.exclude[0]", "expected a string or an integer"),
        ({"parameters": {"exclude_history": 1}}, "parameters.exclude_history", "expected true or false"),
        ({"parameters": {"fields": ["genre"]}}, "parameters.fields[0]", "expected one of title, year"),
        ({"exclude": "10"}, "exclude", "expected a list of item ids, got 10"),
        ({"exclude": {"10": 1}}, "exclude", "expected a list of item ids"),
        ({"exclude": ["10", None]}, "exclude[1]", "expected a string or an integer, got None"),
        ({"exclude": [["10"]]}, "exclude[0]", "expected a string or an integer"),
        ({"exclude": [float("nan")]}, "exclude[0]", "expected a string or an integer, got nan"),
        ({"exclude_history": 1}, "exclude_history", "expected true or false, got 1"),
        ({"exclude_history": "true"}, "exclude_history", "expected true or false, got true"),
        ({"fields": "title"}, "fields", "expected a list of item columns, got title"),
        ({"fields": ["title", "genre"]}, "fields[1]", "expected one of title, year, got genre"),
        ({"fields": [["title"]]}, "fields[0]", "expected one of title, year"),
    ],
)
def test_names_field_value_and_what_was_expected(body: object, field: str, message: str) -> None:
    with pytest.raises(FieldError) as caught:
        read(body)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: {message}")
    assert caught.value.code == 400


def test_refuses_a_column_where_there_is_none() -> None:
    with pytest.raises(FieldError, match="expected one of no columns, got title"):
        rows_of({"fields": ["title"]}, LIMITS, FEATURES, {}, has_history=True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"exclude_history": True}, "exclude_history"),
        ({"parameters": {"exclude_history": True}}, "parameters.exclude_history"),
        ({"instances": [{}], "exclude_history": True}, "exclude_history"),
        ({"instances": [{}, {"exclude_history": True}]}, "instances[1].exclude_history"),
    ],
)
def test_refuses_to_exclude_a_history_that_the_model_does_not_have(body: object, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        rows_of(body, LIMITS, FEATURES, COLUMNS, has_history=False)
    assert caught.value.field == field
    assert str(caught.value) == f"{field}: expected false, as this model has no history, got True"
    assert (
        not rows_of({"exclude_history": False}, LIMITS, FEATURES, {}, has_history=False)
        .rows[0]
        .exclude_history
    )


def test_refuses_more_than_the_limits_allow() -> None:
    with pytest.raises(LimitError, match="instances: at most 4 rows a request, got 5"):
        read({"instances": [{}] * 5})
    with pytest.raises(LimitError, match=r"instances\[0\].exclude: at most 3 items, got 4") as caught:
        read({"instances": [{"exclude": ["1"] * 4}]})
    assert caught.value.field == "instances[0].exclude"
    with pytest.raises(LimitError, match=r"^exclude: at most 3 items, got 4"):
        read({"instances": [{}], "exclude": ["1"] * 4})
    with pytest.raises(LimitError, match=r"^parameters\.exclude: at most 3 items, got 4"):
        read({"parameters": {"exclude": ["1"] * 4}})
    assert len(read({"instances": [{"exclude": ["1"] * 3}] * 4}).rows) == 4


def test_parses_what_torchserve_hands_over() -> None:
    item = {"user_id": b"007", "k": b"5", "exclude": b"[1]"}
    request = read(json_of(item, FEATURES))
    assert request.rows == (Row({"user_id": "007"}, 5, (1,)),)


def test_reserved_words_are_those_that_a_row_takes_for_itself() -> None:
    others = {"candidates", "parameters", "instances", "inputs", "outputs", "signature_name"}
    assert set(RESERVED) == {*OPTIONS, *others}


bodies = st.dictionaries(st.sampled_from([*RESERVED, *FEATURES]) | texts, json_values, max_size=4)


@examples(300)
@given(json_values | bodies | st.fixed_dictionaries({"instances": st.lists(bodies, max_size=3)}))
def test_any_json_gives_rows_or_a_request_error(body: Any) -> None:
    _gives_rows_or_a_request_error({"body": body})
    _gives_rows_or_a_request_error({"body": json.dumps(body).encode()})


@examples(200)
@given(
    st.dictionaries(
        st.sampled_from(["body", "data", *RESERVED, *FEATURES]) | texts,
        st.binary(max_size=12) | texts | bodies.map(lambda body: json.dumps(body).encode()),
        max_size=4,
    )
)
def test_any_form_gives_rows_or_a_request_error(item: dict[str, object]) -> None:
    _gives_rows_or_a_request_error(item)


def _gives_rows_or_a_request_error(item: dict[str, object]) -> None:
    try:
        request = read(json_of(item, FEATURES))
    except RequestError as error:
        assert 400 <= error.code < 500  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017
        return
    assert 1 <= len(request.rows) <= LIMITS.max_rows
    for row in request.rows:
        assert row.features.keys() <= FEATURES.keys()
        assert 1 <= row.k <= LIMITS.max_k
        assert set(row.fields) <= set(COLUMNS)


def test_the_default_k_is_never_above_the_largest_one() -> None:
    limits = Limits.from_config({"max_k": 4})
    assert rows_of({"user_id": "1"}, limits, FEATURES, COLUMNS, has_history=True).rows[0].k == 4
