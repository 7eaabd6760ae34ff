"""Rows of requests to the inputs of a fused file, and batches in blocks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.handlers.small import ITEMS, query_spec
from torchtowers.handlers import fused_search
from torchtowers.handlers.encoders import BooleanEncoder, TimestampEncoder, VectorEncoder
from torchtowers.handlers.errors import ArtifactError, FieldError, RuntimeUnavailableError
from torchtowers.handlers.execution import Execution
from torchtowers.handlers.fused import blocks_of, fused_inputs, load_fused, longest_list, string_lists
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.request import Row
from torchtowers.handlers.token_table import TokenTable


@pytest.fixture
def encoder() -> QueryEncoder:
    return QueryEncoder(query_spec(), None, "history")


def test_missing_and_left_out_values_are_told_apart(encoder: QueryEncoder) -> None:
    rows = [
        Row({"user_id": "u1"}, k=1),
        Row({"user_id": 7, "age": None, "history": None}, k=1),
        Row({"user_id": "u2", "age": 10**400, "history": ["10", 11]}, k=1),
    ]
    inputs = fused_inputs(encoder, rows)
    assert inputs["user_id"].tolist() == ["u1", "7", "u2"]
    np.testing.assert_array_equal(inputs["age"], [np.nan, np.nan, np.finfo(np.float64).max])
    assert inputs["age.given"].tolist() == inputs["history.given"].tolist() == [False, True, True]
    assert inputs["history"].tolist() == [["", ""], ["", ""], ["10", "11"]]


def test_other_kinds_of_numbers() -> None:
    encoders = {
        "user_id": BooleanEncoder(),
        "time": TimestampEncoder(0.0, 1.0, "ms"),
        "picture": VectorEncoder(2),
        "flag": BooleanEncoder(),
    }
    some: Any = SimpleNamespace(spec=SimpleNamespace(key="user_id", lookup={}), encoders=encoders)
    given = {"time": "1970-01-01T00:00:01Z", "picture": [-(10**400), 1], "flag": True}
    inputs = fused_inputs(some, [Row({"user_id": "a", **given}, k=1), Row({"user_id": "b"}, k=1)])
    np.testing.assert_array_equal(inputs["time"], [1500.0, np.nan])
    most = np.finfo(np.float64).max
    np.testing.assert_array_equal(inputs["picture"], [[-most, 1.0], [np.nan, np.nan]])
    assert inputs["flag"].tolist() == [1, -1]


def test_half_of_a_surrogate_pair_is_an_unknown_token_and_no_error() -> None:
    (token,) = string_lists([["\ud800"]])[0]
    assert token.encode()
    assert string_lists([["é\0", "\U0001f600"]]).tolist() == [["é\0", "\U0001f600"]]


def test_without_files_an_encoder_refuses_what_it_refuses_with_them(encoder: QueryEncoder) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({}, "user_id: missing"),
        ({"user_id": "u1", "age": "old"}, "row.age: expected a finite number, got old"),
        ({"user_id": "u1", "history": ["10", 1.5]}, r"row.history\[1\]: expected a string or an integer"),
    ]
    for features, message in cases:
        with pytest.raises(FieldError, match=message):
            encoder.encode(Row(features, k=1, place="row."))


@pytest.mark.parametrize(
    ("lengths", "blocks"),
    [
        ([], []),
        ([1, 1, 1], [(0, 3)]),
        # A list of 9 and one of 1 would be padded to 18 places.
        ([1, 9, 1, 1], [(0, 1), (1, 2), (2, 4)]),
        ([100, 1], [(0, 1), (1, 2)]),
        ([1] * 9, [(0, 4), (4, 8), (8, 9)]),
        ([5, 5, 5], [(0, 2), (2, 3)]),
    ],
)
def test_blocks_bound_padded_places_and_rows(lengths: list[int], blocks: list[tuple[int, int]]) -> None:
    assert [(block.start, block.stop) for block in blocks_of(lengths, 10, 4)] == blocks


def test_the_longest_list_is_of_features_or_exclusions() -> None:
    assert longest_list(Row({"user_id": "a very long name"}, k=1)) == 1
    assert longest_list(Row({"history": ["1"] * 3, "tastes": {"a": 1}}, k=1)) == 3
    assert longest_list(Row({"history": ["1"]}, k=1, exclude=("1", "2"))) == 2


class _All:
    """Stands for a file that gives items in the index's order, and keeps what each batch held."""

    def __init__(self, names: Sequence[str] = ITEMS) -> None:
        self.names = names
        self.batches: list[Mapping[str, Any]] = []

    def __call__(self, inputs: Mapping[str, Any]) -> list[tuple[list[str], Any]]:
        self.batches.append(inputs)
        count = min(int(inputs["k"][0]), len(self.names))
        best = (list(self.names[:count]), np.arange(count, 0, -1, dtype=np.float32))
        return [best] * len(inputs["user_id"])


def test_a_batch_in_blocks_gives_each_row_as_many_as_it_wants(
    encoder: QueryEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = _All()
    search = FusedSearch(encoder, fused, TokenTable.of(ITEMS))
    rows = [encoder.encode(Row({"user_id": "u1"}, k=k, exclude=("10",) * k)) for k in (1, 3, 2, 9)]
    monkeypatch.setattr(fused_search, "_MAX_SCORES", 8)  # two rows of four items
    fused.batches.clear()
    answers = [items.tolist() for items, _ in search.search(rows)]
    assert answers == [[0], [0, 1, 2], [0, 1], [0, 1, 2, 3]]
    assert [batch["k"].tolist() for batch in fused.batches] == [[3], [9]]
    assert [batch["exclude"].shape for batch in fused.batches] == [(2, 3), (2, 9)]
    assert list(search.search([])) == []


def test_refuses_a_file_that_does_not_fit(encoder: QueryEncoder) -> None:
    with pytest.raises(ArtifactError, match="gives 14, which is no candidate of the index"):
        FusedSearch(encoder, _All([*ITEMS[:3], "14"]), TokenTable.of(ITEMS))

    def broken(inputs: Mapping[str, Any]) -> Any:
        return inputs["gender"]

    with pytest.raises(ArtifactError, match="does not take the signature's features: 'gender'"):
        FusedSearch(encoder, broken, TokenTable.of(ITEMS))


def test_refuses_an_unknown_runtime_and_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no fused file runs in 'pt2'; this version knows onnx, torchscr"):
        load_fused("pt2", tmp_path / "fused.pt2")
    with pytest.raises(RuntimeUnavailableError, match="given GPU 1, but a fused file runs on the CPU"):
        load_fused("onnx", tmp_path / "fused.onnx", Execution(gpu_id=1))
    for runtime in ("onnx", "torchscript"):
        with pytest.raises(
            ArtifactError, match="precision is float16, but a fused file computes in the types"
        ):
            load_fused(runtime, tmp_path / "fused", Execution(precision="float16"))
