"""All golden cases are there, and each is read by a test."""

import ast
from pathlib import Path

import pytest

from tests.models.differences import DIFFERENT
from tests.models.golden import FOLDER, cases

# Cases that a whole family's test names one by one, with their reason, are among the constants as well.
CONSTANTS = {
    node.value
    for path in Path(__file__).parent.glob("test_*.py")
    if path != Path(__file__)
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
PREFIXES = tuple(
    str(constant.value)
    for path in Path(__file__).parent.glob("test_*.py")
    for call in ast.walk(ast.parse(path.read_text()))
    if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) == "cases"
    for constant in call.args
    if isinstance(constant, ast.Constant)
)
# By their metric's name, which is made of its class.
METRICS = ("DCG", "MeanAveragePrecision", "MeanReciprocalRank", "NDCG", "PrecisionAtK", "RecallAtK")


@pytest.mark.skipif(FOLDER.name != "golden", reason="another folder is tested")
def test_there_are_290_cases() -> None:
    assert len(cases()) == 290


@pytest.mark.parametrize("name", cases())
def test_a_case_is_read_by_some_test(name: str) -> None:
    read = name in CONSTANTS or name.startswith(tuple(prefix for prefix in PREFIXES if prefix))
    assert read or name.startswith(tuple(f"krs_{metric}_" for metric in METRICS))


@pytest.mark.skipif(FOLDER.name != "golden", reason="another folder is tested")
def test_what_differs_is_a_case_and_has_a_reason() -> None:
    assert set(cases()) >= DIFFERENT.keys()
    assert all(DIFFERENT.values())
    assert list(DIFFERENT) == sorted(DIFFERENT)
