import json
import shlex
from typing import Any

import pytest

from torchtowers.handlers.encoders import (
    BooleanEncoder,
    BucketEncoder,
    Encoder,
    TimestampEncoder,
    TokenEncoder,
    TokenListEncoder,
    VectorEncoder,
    Vocabulary,
    WeightedListEncoder,
)
from torchtowers.handlers.errors import BodyError, FieldError
from torchtowers.serving.demo_requests import (
    Question,
    body_of,
    command_of,
    control_of,
    path_of,
    read_question,
    rows_of,
)

WORDS = Vocabulary(["a", "b"])
ENCODERS: dict[str, Encoder] = {
    "user_id": TokenEncoder(WORDS),
    "age": BucketEncoder([30]),
    "member": BooleanEncoder(),
    "history": TokenListEncoder(WORDS, 5),
    "weights": WeightedListEncoder(WORDS, 5),
    "taste": VectorEncoder(2),
    "since": TimestampEncoder(1.0, 1.0),
}


def question(**changed: Any) -> Question:
    content: dict[str, Any] = {
        "model": "m",
        "version": None,
        "dialect": "plain",
        "user": "7",
        "features": {},
        "options": {},
    }
    return read_question({**content, **changed})


def body(**changed: Any) -> dict[str, Any]:
    return body_of(question(**changed), "user_id", ENCODERS)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("plain", {"user_id": "7", "age": 30, "k": 3}),
        ("instances", {"instances": [{"user_id": "7", "age": 30}], "k": 3}),
        (
            "inputs",
            {
                "inputs": [
                    {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["7"]},
                    {"name": "age", "shape": [1], "datatype": "INT64", "data": [30]},
                ],
                "parameters": {"k": 3},
            },
        ),
    ],
)
def test_one_choice_in_every_dialect(dialect: str, expected: dict[str, Any]) -> None:
    assert body(dialect=dialect, features={"age": " 30 "}, options={"k": 3}) == expected


def test_only_what_is_set_is_sent() -> None:
    assert body(user="", features={"age": " ", "member": ""}) == {}
    assert body(dialect="inputs") == {
        "inputs": [{"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["7"]}]
    }


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("age", "30.5", 30.5),
        ("age", "old", "old"),
        ("age", "NaN", "NaN"),
        ("age", "true", "true"),
        ("member", "true", True),
        ("member", "perhaps", "perhaps"),
        ("history", "a, b,,", ["a", "b"]),
        ("taste", "1, -2.5", [1, -2.5]),
        ("weights", '{"a": 2}', {"a": 2}),
        ("weights", "{", "{"),
        ("since", "2024-01-01", "2024-01-01"),
        ("since", "1700000000", 1700000000),
        ("user_id", "007", "007"),
    ],
)
def test_what_is_typed(name: str, typed: str, value: object) -> None:
    assert body(user="", features={name: typed}) == {name: value}


@pytest.mark.parametrize(
    ("name", "typed", "shape", "datatype"),
    [
        ("history", "a, b", [1, 2], "BYTES"),
        ("taste", "1, -2.5", [1, 2], "FP64"),
        ("member", "true", [1], "BOOL"),
        ("age", "30.5", [1], "FP64"),
    ],
)
def test_tensors(name: str, typed: str, shape: list[int], datatype: str) -> None:
    (tensor,) = body(dialect="inputs", user="", features={name: typed})["inputs"]
    assert (tensor["shape"], tensor["datatype"]) == (shape, datatype)


@pytest.mark.parametrize(
    ("name", "typed", "text"),
    [
        ("weights", '{"a": 2}', '{"a": 2}'),
        ("weights", '[["a", 2]]', '[["a", 2]]'),
        ("since", "2024-01-01", '"2024-01-01"'),
        ("age", "old", '"old"'),
    ],
)
def test_what_no_tensor_holds_is_sent_as_json(name: str, typed: str, text: str) -> None:
    (tensor,) = body(dialect="inputs", user="", features={name: typed})["inputs"]
    assert tensor == {"name": name, "shape": [1], "datatype": "BYTES", "data": [text]}


def test_an_unknown_feature() -> None:
    with pytest.raises(FieldError, match="shoe: expected one of the features user_id, age"):
        body(features={"shoe": "42"})


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"model": 1}, "model"),
        ({"user": None}, "user"),
        ({"version": 1}, "version"),
        ({"dialect": "xml"}, "dialect"),
        ({"features": []}, "features"),
        ({"features": {"age": 30}}, "features"),
        ({"options": 3}, "options"),
    ],
)
def test_what_is_no_question(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        question(**changed)
    assert caught.value.field == field


def test_a_question_is_an_object() -> None:
    with pytest.raises(BodyError):
        read_question([])


ROW = {"items": ["a"], "scores": [1.0], "fields": {"title": ["A"]}}


@pytest.mark.parametrize(
    ("dialect", "answer", "rows"),
    [
        ("plain", ROW, ROW),
        ("plain", {"items": ["a"], "scores": [1.0]}, {**ROW, "fields": {}}),
        ("instances", {"predictions": [ROW]}, ROW),
        (
            "inputs",
            {
                "outputs": [
                    {"name": "items", "data": ["a"]},
                    {"name": "scores", "data": [1.0]},
                    {"name": "fields.title", "data": ["A"]},
                ]
            },
            ROW,
        ),
        ("inputs", {}, {"items": [], "scores": [], "fields": {}}),
        ("plain", [1], {"items": [], "scores": [], "fields": {}}),
    ],
)
def test_one_answer_in_every_dialect(dialect: str, answer: Any, rows: dict[str, Any]) -> None:
    assert rows_of(dialect, answer, ["title"]) == rows


def test_columns_that_are_no_texts_come_as_json_in_tensors() -> None:
    data = {"year": ["1990", ""], "genres": ['["a", "b"]', "[]"], "title": ["[REC]", "1984"]}
    outputs = [{"name": "counts", "data": [2]}]
    outputs += [{"name": f"fields.{name}", "data": values} for name, values in data.items()]
    assert rows_of("inputs", {"outputs": outputs}, ["title"])["fields"] == {
        "year": [1990, None],
        "genres": [["a", "b"], []],
        "title": ["[REC]", "1984"],
    }


@pytest.mark.parametrize(
    ("field", "control"),
    [
        ("k", "k"),
        ("parameters.k", "k"),
        ("instances[0].age", "age"),
        ("instances[0].parameters.k", "k"),
        ("exclude[3]", "exclude"),
        ("include[3]", "include"),
        ("filter.year", "filter.year"),
        ("filter.year.min", "filter.year"),
        ("filter.genres[1]", "filter.genres"),
        ("parameters.filter.year", "filter.year"),
        ("diversity.genres", "diversity"),
        ("candidates[2]", "candidates"),
        ("inputs[1]", "age"),
        ("inputs[1].data[0]", "age"),
        ("inputs[9]", None),
        ("", None),
        (None, None),
    ],
)
def test_an_error_is_shown_where_it_was_made(field: str | None, control: str | None) -> None:
    sent = {"inputs": [{"name": "user_id"}, {"name": "age"}]}
    assert control_of(field, sent) == control


@pytest.mark.parametrize(
    ("dialect", "version", "path"),
    [
        ("plain", None, "/predictions/m"),
        ("plain", "2.0", "/predictions/m/2.0"),
        ("instances", None, "/v1/models/m:predict"),
        ("instances", "2.0", "/predictions/m/2.0"),
        ("inputs", None, "/v2/models/m/infer"),
        ("inputs", "2.0", "/predictions/m/2.0"),
    ],
)
def test_each_dialect_has_its_path_which_takes_no_version(
    dialect: str, version: str | None, path: str
) -> None:
    asked = question(dialect=dialect, version=version)
    assert path_of(asked) == path
    assert command_of(asked, "{}", "http://127.0.0.1:8080", None).endswith(f"http://127.0.0.1:8080{path}")


def test_the_same_as_a_command() -> None:
    text = json.dumps({"user_id": "it's; rm -rf $HOME"})
    curl = command_of(question(model="m", version="2.0"), text, "http://127.0.0.1:8080", "/a b")
    words = shlex.split(curl)
    assert words[words.index("-d") + 1] == text
    assert words[-1] == "http://127.0.0.1:8080/predictions/m/2.0"
    assert "$(torchtowers serve token --state '/a b')" in curl
    grpc = command_of(question(grpc=True, version="2.0"), text, "http://127.0.0.1:8080", None)
    assert shlex.split(grpc) == [
        "torchtowers",
        "recommend",
        "m",
        text,
        "--grpc",
        "--json",
        "--version",
        "2.0",
    ]
