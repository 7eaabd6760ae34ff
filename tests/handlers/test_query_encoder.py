"""Rows to the tower's inputs, with what is known of a user filled in; see `small.py` for the users."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.handlers.small import ITEMS, query_spec, write_query_files
from torchtowers.handlers.encoders import Vocabulary
from torchtowers.handlers.errors import ArtifactError, FieldError, SignatureError
from torchtowers.handlers.query_encoder import EncodedRow, QueryEncoder
from torchtowers.handlers.request import Row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_query_files(tmp_path)
    return tmp_path


@pytest.fixture
def encoder(folder: Path) -> QueryEncoder:
    return QueryEncoder(query_spec(), folder, "history")


def encode(encoder: QueryEncoder, **features: object) -> EncodedRow:
    return encoder.encode(Row(features, k=1))


@pytest.mark.parametrize(
    ("features", "inputs", "history"),
    [
        # A known user by the id alone: the tower gets the last two of a history of three.
        ({"user_id": "u1"}, {"user_id": 2, "age": 2, "history": [3, 4]}, [2, 3, 4]),
        ({"user_id": "u2"}, {"user_id": 3, "age": 0, "history": []}, []),
        # What is sent goes before what is known.
        ({"user_id": "u1", "age": 50}, {"user_id": 2, "age": 3, "history": [3, 4]}, [2, 3, 4]),
        ({"user_id": "u1", "history": ["13"]}, {"user_id": 2, "age": 2, "history": [5]}, [5]),
        ({"user_id": "u1", "history": []}, {"user_id": 2, "age": 2, "history": []}, []),
        # Null is sent, too: it says that there is none.
        ({"user_id": "u1", "age": None, "history": None}, {"user_id": 2, "age": 0, "history": []}, []),
        # A sent history that is longer than the tower takes.
        (
            {"user_id": "new", "age": 5, "history": [10, "11", "nothing", "12"]},
            {"user_id": 1, "age": 1, "history": [3, 4]},
            [2, 3, 4],
        ),
        ({"user_id": "new"}, {"user_id": 1, "age": 0, "history": []}, []),
    ],
)
def test_encodes(
    encoder: QueryEncoder, features: dict[str, object], inputs: dict[str, object], history: list[int]
) -> None:
    encoded = encode(encoder, **features)
    assert {name: np.asarray(value).tolist() for name, value in encoded.inputs.items()} == inputs
    assert list(encoded.history) == history


def test_without_lookup_nothing_is_filled_in(folder: Path) -> None:
    encoder = QueryEncoder(query_spec(lookup=False), folder, "history")
    assert encode(encoder, user_id="u1").inputs == {"user_id": 2, "age": 0, "history": []}


def test_stacks_a_batch(encoder: QueryEncoder) -> None:
    stacked = encoder.stack([encode(encoder, user_id="u1"), encode(encoder, user_id="new")])
    assert {name: column.tolist() for name, column in stacked.items()} == {
        "user_id": [2, 1],
        "age": [2, 0],
        "history": [[3, 4], [0, 0]],
    }
    assert {column.dtype.name for column in stacked.values()} == {"int64"}


@pytest.mark.parametrize("features", [{}, {"user_id": None}, {"user_id": ""}, {"age": 5}])
def test_a_required_feature_has_to_be_there(encoder: QueryEncoder, features: dict[str, object]) -> None:
    with pytest.raises(FieldError, match=r"^user_id: missing; every row needs a string or an integer$"):
        encode(encoder, **features)


@pytest.mark.parametrize(
    ("features", "field"),
    [
        ({"user_id": ["u1"]}, "instances[3].user_id"),
        ({"user_id": "u1", "age": "old"}, "instances[3].age"),
        ({"user_id": "u1", "history": "10"}, "instances[3].history"),
        ({"user_id": "u1", "history": ["10", {}]}, "instances[3].history[1]"),
    ],
)
def test_errors_name_the_row(encoder: QueryEncoder, features: dict[str, object], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        encoder.encode(Row(features, k=1, place="instances[3]."))
    assert caught.value.field == field


def test_a_model_may_have_no_history(folder: Path) -> None:
    encoder = QueryEncoder(query_spec(), folder, None)
    assert encoder.history is None
    assert list(encoder.encode(Row({"user_id": "u1"}, k=1)).history) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lookup": {"gender": "lookup/age"}}, "looks up gender, which is no query feature"),
    ],
)
def test_refuses_a_signature_that_does_not_fit_itself(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SignatureError, match=message):
        QueryEncoder(replace(query_spec(), **change), folder, "history")


@pytest.mark.parametrize("history", ["user_id", "age", "item_id"])
def test_refuses_a_history_that_is_no_list_of_tokens(folder: Path, history: str) -> None:
    with pytest.raises(
        SignatureError, match=f"{history} has to be a query feature with a token_list encoder"
    ):
        QueryEncoder(query_spec(), folder, history)


@pytest.mark.parametrize("name", ["k", "exclude", "fields", "parameters", "instances"])
def test_refuses_a_feature_with_the_name_of_an_option(folder: Path, name: str) -> None:
    spec = query_spec()
    renamed = replace(spec, features=(*spec.features, replace(spec.features[1], name=name)))
    with pytest.raises(SignatureError, match=f"a query feature can't be called {name}"):
        QueryEncoder(renamed, folder, "history")


def test_refuses_files_of_another_vocabulary(folder: Path) -> None:
    Vocabulary(["u1", "u2", "u3"]).save(folder, "encoders/user_id")
    with pytest.raises(ArtifactError, match=r"lookup/age in .*: expected 3 rows, got 2"):
        QueryEncoder(query_spec(), folder, "history")


def test_refuses_a_lookup_of_items_that_the_vocabulary_does_not_have(folder: Path) -> None:
    Vocabulary(ITEMS[:1]).save(folder, "encoders/item_id")
    with pytest.raises(ArtifactError, match=r"lookup/history in .*: expected indices from 0 to 2, got"):
        QueryEncoder(query_spec(), folder, "history")
