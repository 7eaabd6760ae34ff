"""JSON Schemas and OpenAPI documents, held against what the small models take and refuse."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.fuzz.corpus import EXAMPLES, requests
from tests.fuzz.mutations import VALUES, arbitrary_values, mutated
from tests.handlers.small import examples, small_recommender
from tests.handlers.small_ranking import small_ranker
from tests.handlers.small_two_stage import small_two_stages
from torchtowers.handlers.encoders import (
    BooleanEncoder,
    BucketEncoder,
    Encoder,
    NumberEncoder,
    TimestampEncoder,
    TokenEncoder,
    TokenListEncoder,
    VectorEncoder,
    Vocabulary,
    WeightedListEncoder,
    WordsEncoder,
)
from torchtowers.handlers.errors import RequestError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.request_schema import feature_schema, openapi

KINDS: dict[str, Callable[..., Any]] = {
    "retrieval": small_recommender,
    "ranking": small_ranker,
    "two_stage": small_two_stages,
}
LIMITS = Limits(
    max_k=20,
    max_exclude=3,
    max_include=4,
    max_filter_columns=2,
    max_filter_values=3,
    max_diversity_columns=1,
    max_candidates=20,
)


def is_plain(value: Any) -> bool:
    """Tell whether JSON can hold a value, without floats such as 1.0: JSON Schema calls them integers."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values()))
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, int):
        return abs(value) < 1e308
    return not isinstance(value, float) or (math.isfinite(value) and not value.is_integer())


def answer_or_refusal(ask: Callable[[Any], Any], body: Any) -> tuple[Any, str | None]:
    try:
        return ask(body), None
    except RequestError as error:
        return None, str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_fits_the_schema_exactly_if_it_is_taken(tmp_path: Path, kind: str) -> None:
    model = KINDS[kind](tmp_path, limits=LIMITS)
    row, answer = model.schemas()
    for schema in (row, answer):
        Draft202012Validator.check_schema(schema)
    fits, answer_fits = Draft202012Validator(row), Draft202012Validator(answer)
    ask = model.rank if kind == "ranking" else model.recommend
    chooser = random.Random(1)
    bodies = [body for body in requests(("u1", "new"), ("10", "11", "13"), kind) if "user_id" in body]
    values = [value for value in (*VALUES, *arbitrary_values(100)) if is_plain(value)]
    taken = refused = 0
    while taken + refused < examples(1500).max_examples:
        body = mutated(chooser, chooser.choice(bodies), values)
        if not isinstance(body, dict) or not is_plain(body) or body.keys() & {"instances", "inputs"}:
            continue
        reasons = [error.message for error in fits.iter_errors(body)]
        given, refusal = answer_or_refusal(ask, body)
        if refusal is None:
            taken += 1
            assert not reasons, body
            answer_fits.validate(given)
        else:
            refused += 1
            # What no schema can say.
            assert reasons or "the number of candidates" in refusal, f"{refusal}: {body}"
    assert min(taken, refused) > 100


def test_the_examples_of_the_page_fit(tmp_path: Path) -> None:
    rows = [body for body in EXAMPLES if not body.keys() & {"instances", "inputs"}]
    assert len(rows) >= 5
    retrieval, _ = small_recommender(tmp_path / "retrieval").schemas()
    ranking, _ = small_ranker(tmp_path / "ranking").schemas()
    for body in rows:
        Draft202012Validator(ranking if "candidates" in body else retrieval).validate(body)


@pytest.mark.parametrize("kind", KINDS)
def test_the_document_is_openapi(tmp_path: Path, kind: str) -> None:
    document = openapi("movies", "2.0", *KINDS[kind](tmp_path).schemas())
    validate(document)
    assert json.loads(json.dumps(document)) == document
    assert list(document["paths"]) == [
        "/predictions/movies",
        "/v1/models/movies:predict",
        "/v2/models/movies/infer",
    ]


VOCABULARY = Vocabulary(["a", "b"])
ENCODERS: list[Encoder] = [
    TokenEncoder(VOCABULARY),
    TokenListEncoder(VOCABULARY, 3),
    WeightedListEncoder(VOCABULARY, 3),
    WordsEncoder(VOCABULARY, 3),
    BucketEncoder([1, 2]),
    NumberEncoder("log", 0.0, 1.0),
    BooleanEncoder(),
    VectorEncoder(2),
    TimestampEncoder(0.0, 1.0),
]
OF_FEATURES: list[Any] = [
    *(
        "a",
        "",
        "2020-01-01",
        "2020-01-01T10:00:00Z",
        1,
        -1,
        0.5,
        True,
        False,
        None,
        [],
        {},
        [1, 2],
        [0.5, 0.5],
    ),
    *([1], ["a", 1], [["a", 0.5]], {"a": 0.5}, {"a": "b"}, [["a"]], [None], [True], ["a", None], [0.5, "a"]),
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.kind)
def test_a_feature_takes_what_its_schema_says(encoder: Encoder) -> None:
    fits = Draft202012Validator(feature_schema(encoder))
    taken = []
    for value in OF_FEATURES:
        _, refusal = answer_or_refusal(lambda given: encoder.encode_value(given, "x"), value)
        if refusal is None:
            assert fits.is_valid(value), value
            taken.append(value)
        elif not (isinstance(encoder, TimestampEncoder) and isinstance(value, str)):  # a text that is no time
            assert not fits.is_valid(value), (value, refusal)
    assert None in taken
    assert 2 <= len(taken) < len(OF_FEATURES) - 2
