"""The same rows in every dialect, and what each refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_values, small_recommender
from tests.handlers.small_ranking import small_ranker
from torchtowers.handlers.errors import BodyError, FieldError, LimitError, RequestError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.recommender import Recommender


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return small_recommender(tmp_path_factory.mktemp("small"), limits=Limits(max_rows=3))


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


USERS = tensor("user_id", "BYTES", [2], ["u1", "u2"])


def outputs_of(answer: dict[str, Any]) -> dict[str, Any]:
    return {output.pop("name"): output for output in answer["outputs"]}


# ---- TF Serving ----


def test_instances_of_bare_ids(small: Recommender) -> None:
    assert small.recommend({"instances": ["u1", 5], "signature_name": "serving_default"}) == small.recommend(
        {"instances": [{"user_id": "u1"}, {"user_id": 5}]}
    )


def test_columns(small: Recommender) -> None:
    answer = small.recommend(
        {
            "signature_name": "serving_default",
            "inputs": {"user_id": ["u1", "new"], "age": [None, 40], "k": [2, 1]},
            "fields": ["title"],
        }
    )
    assert answer == {
        "outputs": {
            "items": [["12", "13"], ["13"]],
            "scores": [[4, 4], [6]],
            "fields": {"title": [[None, 'The "Thing"'], ['The "Thing"']]},
        }
    }


def test_columns_of_one_input(small: Recommender) -> None:
    assert small.recommend({"inputs": ["u1", "u2"]}) == small.recommend({"inputs": {"user_id": ["u1", "u2"]}})


def test_an_option_of_one_value_is_for_all_rows(small: Recommender) -> None:
    one = small.recommend({"inputs": {"user_id": ["u1", "u2"], "k": [1], "exclude": [["12"]]}})
    assert one["outputs"]["items"] == [["13"], ["10"]]
    own = small.recommend(
        {"inputs": {"user_id": ["u1", "u2"], "k": [1, None], "exclude": [["12"], []]}, "k": 2}
    )
    assert own["outputs"]["items"] == [["13"], ["10", "11"]]


# ---- Open Inference ----


def test_tensors(small: Recommender) -> None:
    answer = small.recommend(
        {
            "id": "7",
            "inputs": [
                USERS,
                tensor("k", "INT64", [2, 1], [2, 1]),
                tensor("fields", "BYTES", [1, 2], ["title", "genres"]),
                tensor("filter", "BYTES", [1], ['{"genres": "Horror"}']),
            ],
            "parameters": {"binary_data_output": True, "exclude": ["13"]},
        }
    )
    assert answer["id"] == "7"
    least = -3.4028234663852886e38
    assert outputs_of(answer) == {
        "items": {"datatype": "BYTES", "shape": [2, 1], "data": ["10", "10"]},
        "scores": {"datatype": "FP32", "shape": [2, 1], "data": [2, 0]},
        "counts": {"datatype": "INT64", "shape": [2], "data": [1, 1]},
        "fields.title": {"datatype": "BYTES", "shape": [2, 1], "data": ["Alien", "Alien"]},
        "fields.genres": {"datatype": "BYTES", "shape": [2, 1], "data": ['["Horror", "Sci-Fi"]'] * 2},
    }
    padded = outputs_of(
        small.recommend({"inputs": [USERS, tensor("min_score", "FP32", [2], [3, 0])], "fields": ["year"]})
    )
    assert padded["items"]["data"] == ["12", "13", "", "", "10", "11", "12", "13"]
    assert padded["scores"]["data"] == [4, 4, least, least, 0, 0, 0, 0]
    assert padded["counts"]["data"] == [2, 4]
    assert padded["fields.year"]["data"] == ["", "1982", "", "", "1979", "1998", "", "1982"]


def test_nothing_found_is_a_tensor_of_no_width(small: Recommender) -> None:
    found = outputs_of(small.recommend({"inputs": [USERS], "include": []}))
    assert (found["items"]["shape"], found["items"]["data"]) == ([2, 0], [])
    assert found["counts"]["data"] == [0, 0]


def test_lists_are_second_dimensions_padded_with_empty_texts(small: Recommender) -> None:
    body = {
        "inputs": [
            tensor("user_id", "BYTES", [2, 1], [["u1"], ["u2"]]),
            tensor("history", "BYTES", [2, 2], [["10", "11"], ["12", ""]]),
            tensor("exclude_history", "BOOL", [1], [True]),
        ]
    }
    rows = [{"user_id": "u1", "history": ["10", "11"]}, {"user_id": "u2", "history": ["12"]}]
    expected = small.recommend({"instances": rows, "exclude_history": True})["predictions"]
    found = outputs_of(small.recommend(body))
    assert found["counts"]["data"] == [2, 3]
    assert found["items"]["data"] == [*expected[0]["items"], "", *expected[1]["items"]]


def test_outputs_that_are_asked_for(small: Recommender) -> None:
    body = {"inputs": [USERS], "outputs": [{"name": "fields.year"}, {"name": "items"}]}
    assert [output["name"] for output in small.recommend(body)["outputs"]] == ["fields.year", "items"]


def test_a_ranking_model_takes_candidates_as_an_input(tmp_path: Path) -> None:
    ranker = small_ranker(tmp_path)
    rows = [{"user_id": "u1", "candidates": ["10", "13"]}, {"user_id": "u2", "candidates": ["11"]}]
    expected = ranker.rank({"instances": rows})["predictions"]
    found = outputs_of(
        ranker.rank({"inputs": [USERS, tensor("candidates", "BYTES", [2, 2], ["10", "13", "11", ""])]})
    )
    assert found["items"]["data"] == [*expected[0]["items"], *expected[1]["items"], ""]
    assert found["scores"]["data"][:3] == [*expected[0]["scores"], *expected[1]["scores"]]
    columns = ranker.rank({"inputs": {"user_id": ["u1", "u2"], "candidates": [["10", "13"], ["11"]]}})
    assert columns["outputs"]["items"] == [row["items"] for row in expected]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": 5}, "inputs: expected a list of tensors, or an object of columns, got 5"),
        ({"inputs": {"user_id": "u1"}}, "inputs.user_id: expected a list of a value for each row, got u1"),
        ({"inputs": {"usr": ["u1"]}}, "inputs.usr: expected a feature or option (user_id, age, history, k"),
        (
            {"inputs": {"user_id": ["u1", "u2"], "age": [1]}},
            "inputs.age: expected as many rows as user_id has, 2, in its first dimension, got 1",
        ),
        (
            {"inputs": {"user_id": ["u1", "u2", "u3"], "k": [1, 2]}},
            "inputs.k: expected as many rows as user_id has, 3, or 1, in its first dimension, got 2",
        ),
        ({"inputs": {"user_id": ["u1", "u2"], "k": [1, 0]}}, "rows[1].k: expected an integer from 1"),
        ({"inputs": {"user_id": ["u1", "u2"], "age": [1, "x"]}}, "rows[1].age: expected a finite number"),
        ({"inputs": {"user_id": ["u1"]}, "usr": 1}, "usr: expected beside inputs one of k, exclude"),
        ({"inputs": {"user_id": ["u1"]}, "id": "7"}, "id: expected beside inputs one of k"),
        ({"inputs": [USERS, 5]}, "inputs[1]: expected a tensor"),
        ({"inputs": [USERS, USERS]}, "inputs[1].name: expected each name once, got user_id"),
        ({"inputs": [{**USERS, "name": 1}]}, "inputs[0].name: expected a feature or option"),
        ({"inputs": [{**USERS, "datatype": "STRING"}]}, "inputs[0].datatype: expected one of BYTES"),
        ({"inputs": [{**USERS, "shape": 2}]}, "inputs[0].shape: expected [rows] or [rows, length], got 2"),
        ({"inputs": [{**USERS, "shape": []}]}, "inputs[0].shape: expected [rows] or [rows, length]"),
        ({"inputs": [{**USERS, "shape": [1, 2]}]}, "inputs[0].shape: expected [rows] or [rows, 1]"),
        ({"inputs": [{**USERS, "shape": [-2]}]}, "inputs[0].shape: expected [rows]"),
        (
            {"inputs": [{**USERS, "shape": [3]}]},
            "inputs[0].data: expected the 3 values of the shape [3], got 2",
        ),
        ({"inputs": [{**USERS, "data": None}]}, "inputs[0].data: expected a list of values, got None"),
        (
            {"inputs": [{**USERS, "data": ["u1", 2]}]},
            "inputs[0].data[1]: expected a string, as of BYTES, got 2",
        ),
        ({"inputs": [{**USERS, "data": [["u1"], "u2"]}]}, "inputs[0].data[1]: expected a list, as the rows"),
        ({"inputs": [USERS, tensor("k", "INT64", [1], [True])]}, "inputs[1].data[0]: expected an integer"),
        ({"inputs": [USERS, tensor("k", "INT64", [1], [1.5])]}, "inputs[1].data[0]: expected an integer"),
        ({"inputs": [USERS, tensor("filter", "BYTES", [1], ["{"])]}, "inputs[1].data[0]: expected JSON"),
        ({"inputs": [USERS], "id": 7}, "id: expected a string, got 7"),
        ({"inputs": [USERS], "outputs": "items"}, "outputs: expected a list such as"),
        ({"inputs": [USERS], "outputs": [{"name": "ids"}]}, "outputs[0].name: expected one of items, scores"),
        (
            {"inputs": [USERS], "outputs": [{"name": "fields.plot"}]},
            "outputs[0].name[0]: expected one of title",
        ),
        (
            {"inputs": [USERS], "parameters": {"deadline": 1}},
            "parameters.deadline: expected one of the options",
        ),
    ],
)
def test_names_field_value_and_expectation(small: Recommender, body: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError) as caught:
        small.recommend(body)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "inputs", [[], {}, {"k": [1]}, {"user_id": []}, [tensor("user_id", "BYTES", [0], [])]]
)
def test_no_row(small: Recommender, inputs: object) -> None:
    with pytest.raises(BodyError, match="inputs hold no row; send at least user_id"):
        small.recommend({"inputs": inputs})


def test_more_rows_than_allowed(small: Recommender) -> None:
    for inputs in ({"user_id": ["u1"] * 4}, [tensor("user_id", "BYTES", [4], ["u1"] * 4)]):
        with pytest.raises(LimitError, match="inputs: at most 3 rows a request, got 4"):
            small.recommend({"inputs": inputs})


# ---- all of them ----

rows = st.lists(
    st.fixed_dictionaries(
        {"user_id": st.sampled_from(["u1", "u2", "new"]), "age": st.integers(0, 50)},
    ),
    min_size=1,
    max_size=3,
)
shared = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers(1, 5),
        "exclude": st.lists(st.sampled_from(["10", "11", "13"]), max_size=2),
        "exclude_history": st.booleans(),
        "include": st.lists(st.sampled_from(["10", "11", "12"]), max_size=2),
        "min_score": st.integers(0, 4),
        "filter": st.sampled_from([{"genres": "Horror"}, {"year": {"min": 1980}}, {}]),
        "diversity": st.sampled_from([{"genres": 1}, {}]),
        "fields": st.lists(st.sampled_from(["title", "year"]), max_size=2),
    },
)
_DATATYPES = {"k": "INT64", "exclude_history": "BOOL", "min_score": "FP32"}


def as_tensor(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, list):
        return tensor(name, "BYTES", [1, len(value)], value)
    if isinstance(value, dict):
        return tensor(name, "BYTES", [1], [json.dumps(value)])
    return tensor(name, _DATATYPES[name], [1], [value])


@examples(200)
@given(rows, shared)
def test_all_dialects_give_the_same_items(
    small: Recommender, rows: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    expected = [small.recommend({**row, **options}) for row in rows]
    assert small.recommend({"instances": rows, **options})["predictions"] == expected
    assert small.recommend({"instances": rows, "parameters": options})["predictions"] == expected
    columns = {name: [row[name] for row in rows] for name in ("user_id", "age")}
    of_columns = small.recommend({"inputs": columns, **options})["outputs"]
    assert of_columns["items"] == [row["items"] for row in expected]
    assert of_columns["scores"] == [row["scores"] for row in expected]
    inputs = [
        tensor("user_id", "BYTES", [len(rows)], columns["user_id"]),
        tensor("age", "INT64", [len(rows)], columns["age"]),
        *(as_tensor(name, value) for name, value in options.items()),
    ]
    found = outputs_of(small.recommend({"inputs": inputs}))
    width = found["items"]["shape"][1]
    for position, (row, count) in enumerate(zip(expected, found["counts"]["data"], strict=True)):
        own = slice(position * width, position * width + count)
        assert found["items"]["data"][own] == row["items"]
        assert found["scores"]["data"][own] == row["scores"]


@examples(300)
@given(
    st.dictionaries(
        st.sampled_from(["inputs", "outputs", "parameters", "id", "k", "signature_name"]),
        json_values
        | st.lists(st.just(USERS) | st.dictionaries(st.sampled_from([*USERS]), json_values), max_size=2)
        | st.fixed_dictionaries(
            {"user_id": st.just(["u1"])}, optional={"k": json_values, "age": json_values}
        ),
    )
)
def test_anything_gives_an_answer_or_an_error(small: Recommender, body: dict[str, Any]) -> None:
    try:
        answer = small.recommend(body)
    except RequestError as error:
        shown = str(error)
    else:
        shown = "" if answer else "nothing"
    assert shown.isprintable()
    assert len(shown) < 500
