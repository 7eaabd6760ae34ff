import json
from typing import Any

import pytest

from torchtowers.handlers.strings import StringTable
from torchtowers.serving.demo_columns import describe_column, title_column


def described(values: list[Any], name: str = "c") -> dict[str, Any]:
    return describe_column(name, StringTable.of(map(json.dumps, values)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, None, 1.5], {"kind": "number", "low": 1.5, "high": 3}),
        ([True, None, False], {"kind": "flag"}),
        (["b", "a", "b", "b", "a", None], {"kind": "choice", "values": ["b", "a"]}),
        ([["a", "b"], ["b"], []], {"kind": "choices", "values": ["b", "a"]}),
        (["one", "two", "three"], {"kind": "text"}),
        ([str(number % 150) for number in range(600)], {"kind": "text"}),
        ([[str(number)] for number in range(150)], {"kind": "other"}),
        ([["a"], "a"], {"kind": "other"}),
        ([1, "a"], {"kind": "other"}),
        ([[1, 2]], {"kind": "other"}),
        ([{"a": 1}], {"kind": "other"}),
        ([None, None], {"kind": "other"}),
        ([], {"kind": "other"}),
    ],
)
def test_what_a_filter_can_be(values: list[Any], expected: dict[str, Any]) -> None:
    assert described(values) == {"name": "c", **expected}


def test_the_title_is_found_by_its_name() -> None:
    columns = {name: described(["x", "y", "z"], name) for name in ("maker", "Title", "isbn")}
    assert title_column(columns) == "Title"


def test_else_the_first_column_of_texts() -> None:
    columns = {"year": described([1, 2], "year"), "maker": described(["x", "y"], "maker")}
    assert title_column(columns) == "maker"
    assert title_column({"year": columns["year"]}) is None
    # A number is no title, whatever it is called.
    assert title_column({"title": described([1, 2], "title")}) is None
