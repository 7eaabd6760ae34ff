"""The handler under TorchServe's own context: what becomes of a batch, and that its requests are apart."""

import base64
import logging
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_values, small_recommender, strict_json, texts
from torchtowers.handlers.agreement import Tolerance
from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.body import json_of
from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError, TowersError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.ranking_handler import RankingHandler
from torchtowers.handlers.retrieval_handler import RetrievalHandler
from torchtowers.handlers.samples import check_samples, read_samples, write_samples
from torchtowers.handlers.settings import Settings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # ts leaves a file open when it is imported
    from ts.context import Context, RequestProcessor


class Worker:
    """A handler with the context that TorchServe gives it."""

    def __init__(
        self, folder: Path, config: object = None, handler: type[BaseHandler] = RetrievalHandler
    ) -> None:
        self.context = Context("tiny", str(folder), {}, 32, None, "0.12.0", model_yaml_config=config)
        self.handler = handler()

    def load(self) -> "Worker":
        self.handler.initialize(self.context)
        return self

    def ask(
        self, *items: Mapping[str, object], headers: Mapping[str, object] | None = None
    ) -> list[tuple[int, Any]]:
        """Give each item's status and parsed answer."""
        self.context.request_processor = [RequestProcessor(dict(headers or {})) for _ in items]
        answers = self.handler.handle(items, self.context)
        assert isinstance(answers, list)
        assert len(answers) == len(items)
        statuses = []
        for position, answer in enumerate(answers):
            status, phrase = self.context.get_response_status(position)
            assert self.context.get_response_content_type(position) == "application/json"
            assert isinstance(answer, bytes)
            # TorchServe writes the phrase's length before it is encoded.
            assert (phrase or "").isascii()
            assert (phrase is None) == (status == 200)
            statuses.append(status)
        return [(status, strict_json(answer)) for status, answer in zip(statuses, answers, strict=True)]


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def worker(
    archives: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Worker:
    """A worker with a real archive, unpacked as TorchServe does."""
    folder = tmp_path_factory.mktemp("models") / "unpacked"
    with zipfile.ZipFile(archives / f"tiny-{request.param}.mar") as archive:
        archive.extractall(folder)
    return Worker(folder, {"minWorkers": 1}).load()


@pytest.fixture
def small(tmp_path: Path) -> Worker:
    """A worker with the small recommender; see `small.py`."""
    made = Worker(tmp_path)
    made.handler.model = small_recommender(tmp_path)
    return made


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


GOOD: list[dict[str, object]] = [
    {"body": {"user_id": "u3", "k": 5}},
    {"body": b'{"user_id": "u3", "k": 5, "exclude_history": true, "fields": ["title", "year", "genres"]}'},
    {"body": {"instances": [{"user_id": "u1"}, {"user_id": "nobody", "age": 1e308, "history": ["105"]}]}},
    {"data": '{"user_id": 7, "exclude": ["100", "101", "nothing", 102]}'},
    {"body": '{"user_id": "u9", "k": 60}'},
    {"user_id": b"u5", "k": b"3", "history": b'["101", "103"]', "age": b"31.5", "gender": b"F"},
    {"body": {"user_id": "u4", "k": 10_000, "fields": ["year"]}},
    {"body": {"user_id": "\ud800", "age": 10**400, "gender": "x" * 10_000}},
    {"body": {"user_id": "u3", "exclude": [str(100 + item) for item in range(60)]}},
    {"body": '{"user_id": "u1", "user_id": "u2"}'},
    {"body": {"signature_name": "serving_default", "inputs": {"user_id": ["u1", "u2"], "age": [30, None]}}},
    {"body": {"inputs": [{"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["u1"]}]}},
    {"body": {"user_id": "u3", "filter": {"genres": ["Drama"], "year": {"min": 1980}}, "min_score": -1}},
    {"body": {"user_id": "u3", "include": ["100", 7], "diversity": {"genres": 1, "year": 1}}},
]
BAD: list[dict[str, object]] = [
    {"body": {"user_id": nested(900)}},  # as deep as Python's parser takes it
    {"body": nested(5000)},
    {},
    {"body": None},
    {"body": []},
    {"body": "user"},
    {"body": 7},
    {"body": b"\xff\xfe"},
    {"body": b"[" * 100_000},
    {"body": b'{"user_id": "u1", "age": 1e400}'},
    {"body": b'{"user_id": "u1", "age": NaN}'},
    {"body": {"user_id": None}},
    {"body": {"user_id": True}},
    {"body": {"user_id": "u1", "k": 0}},
    {"body": {"user_id": "u1", "k": 10_001}},
    {"body": {"user_id": "u1", "age": [1]}},
    {"body": {"user_id": "u1", "history": [["100"]]}},
    {"body": {"user_id": "u1", "usr": 1}},
    {"body": {"user_id": "u1", "fields": ["plot"]}},
    {"body": {"instances": []}},
    {"body": {"inputs": []}},
    {"body": {"inputs": {}}},
    {"body": {"inputs": None}},
    {"body": {"inputs": [{"name": "user_id", "shape": [2], "datatype": "BYTES", "data": ["u1"]}]}},
    {"body": {"inputs": {"user_id": ["u1", "u2"], "age": [1]}}},
    {"body": {"user_id": "u1", "filter": {"plot": "x"}}},
    {"body": {"user_id": "u1", "filter": {"year": "x" * 100_000}}},
    {"body": {"user_id": "u1", "min_score": [1]}},
    {"body": {"user_id": "u1", "include": {"a": 1}}},
    {"body": {"user_id": "u1", "diversity": {"genres": True}}},
    {"body": {"instances": [{"user_id": "u1"}, {"user_id": "u2", "age": "x" * 100_000}]}},
    {"user_id": b"\xff"},
    {'{"user_id": "a': bytearray(b'b"}')},  # JSON sent as a form
]


def same_answer(one: Any, other: Any) -> bool:
    """Tell whether two answers are equal but for the last digits, which depend on the batch's size."""
    if isinstance(one, dict) and "outputs" in one:
        return one.keys() == other.keys() and same_outputs(one["outputs"], other["outputs"])
    if isinstance(one, dict) and "predictions" in one:
        rows, others = one["predictions"], other["predictions"]
        return len(rows) == len(others) and all(map(same_answer, rows, others))
    if one.keys() != other.keys() or len(one["items"]) != len(other["items"]):
        return False
    if not np.allclose(one["scores"], other["scores"], atol=1e-5):
        return False
    scores = dict(zip(other["items"], other["scores"], strict=True))
    least = min(other["scores"], default=0.0)
    return all(
        abs(scores.get(item, least) - score) < 1e-5
        for item, score in zip(one["items"], one["scores"], strict=True)
    )


def same_outputs(one: Any, other: Any) -> bool:
    if isinstance(one, list):  # of Open Inference
        assert all(len(output["data"]) == np.prod(output["shape"]) for output in one)
        one, other = ({output["name"]: output["data"] for output in outputs} for outputs in (one, other))
    ours, theirs = (np.hstack([np.ravel(row) for row in outputs["scores"]]) for outputs in (one, other))
    return one.keys() == other.keys() and np.allclose(ours, theirs, atol=1e-5)


def check_batch(worker: Worker, items: Sequence[Mapping[str, object]]) -> list[int]:
    """Compare a batch with its requests asked alone, and give the statuses."""
    together = worker.ask(*items)
    for item, (status, answer) in zip(items, together, strict=True):
        ((alone_status, alone),) = worker.ask(item)
        assert status == alone_status
        if status == 200:
            assert same_answer(answer, alone)
        else:
            assert 400 <= status < 500
            assert answer == alone
            assert answer["code"] == status
            assert answer.keys() - {"field", "error"} == {"code", "type", "message"}
            assert answer.get("error") in (None, answer["message"])
            assert answer["message"].isprintable()
            assert len(answer["message"]) < 500
    return [status for status, _ in together]


def test_good_and_bad_requests_of_a_batch_are_apart(worker: Worker) -> None:
    assert check_batch(worker, GOOD) == [200] * len(GOOD)
    assert check_batch(worker, BAD) == [400] * len(BAD)
    mixed = [item for pair in zip(BAD, [*GOOD, *GOOD, *GOOD], strict=False) for item in pair]
    assert check_batch(worker, mixed) == [400, 200] * len(BAD)


def test_answers_what_was_asked(worker: Worker) -> None:
    (
        (_, first),
        (_, second),
        (_, third),
        (_, fourth),
        (_, fifth),
        (_, sixth),
        (_, seventh),
        _,
        (_, nothing),
        (_, last),
        *_,
    ) = worker.ask(*GOOD)
    assert len(first["items"]) == 5
    assert second["fields"].keys() == {"title", "year", "genres"}
    assert all(len(column) == len(second["items"]) for column in second["fields"].values())
    assert [len(row["items"]) for row in third["predictions"]] == [10, 10]
    assert not {"100", "101", "102"} & set(fourth["items"])
    assert len(fifth["items"]) == 60  # more than the catalogue holds is all of it
    assert len(sixth["items"]) == 3
    assert len(seventh["items"]) == 60
    assert None in seventh["fields"]["year"]
    assert nothing == {"items": [], "scores": []}
    # Of two fields with one name the last holds.
    assert same_answer(last, worker.ask({"body": {"user_id": "u2"}})[0][1])
    assert sorted(first["scores"], reverse=True) == first["scores"]


def test_a_history_longer_than_the_tower_takes_is_excluded_wholly(worker: Worker) -> None:
    history = [str(100 + item) for item in range(30)]  # the tower takes 12
    body = {"user_id": "nobody", "history": history, "k": 60, "exclude_history": True}
    ((status, answer),) = worker.ask({"body": body})
    assert status == 200
    assert sorted(answer["items"]) == [str(100 + item) for item in range(30, 60)]
    kept = worker.ask({"body": {**body, "exclude_history": False}})[0][1]
    assert len(kept["items"]) == 60


def test_a_known_history_is_excluded(worker: Worker) -> None:
    known = worker.ask({"body": {"user_id": "u3", "k": 60}})[0][1]
    without = worker.ask({"body": {"user_id": "u3", "k": 60, "exclude_history": True}})[0][1]
    assert 0 < len(without["items"]) < len(known["items"])
    assert set(without["items"]) < set(known["items"])


bodies = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["u1", "u2", "nobody"]) | texts},
    optional={
        "k": st.integers(1, 70),
        "exclude": st.lists(st.sampled_from(["100", "101", "nothing"])),
        "exclude_history": st.booleans(),
        "fields": st.lists(st.sampled_from(["title", "year"])),
        "age": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "gender": st.none() | texts,
        "history": st.none() | st.lists(st.sampled_from(["100", "159", "x"]) | st.integers(), max_size=15),
    },
)
names = (
    st.sampled_from(["user_id", "age", "history", "k", "exclude", "parameters", "instances", "body"]) | texts
)
hostile = st.dictionaries(names, json_values, max_size=4)
spoilt = st.builds(lambda body, more: body | more, bodies, hostile)
items = st.one_of(
    bodies.map(lambda body: {"body": body}),
    st.lists(bodies, max_size=3).map(lambda rows: {"body": {"instances": rows}}),
    (json_values | hostile | spoilt).map(lambda body: {"body": body}),
    st.lists(spoilt, max_size=3).map(lambda rows: {"body": {"instances": rows}}),
    st.binary(max_size=20).map(lambda body: {"body": body}),
    st.dictionaries(names, st.binary(max_size=8) | texts | json_values, max_size=3),
)


@examples(60)
@given(batch=st.lists(items, max_size=6))
def test_any_batch_gives_each_request_what_it_gets_alone(worker: Worker, batch: list[dict[str, Any]]) -> None:
    check_batch(worker, batch)


@pytest.mark.slow
def test_a_batch_of_many_rows_is_answered(worker: Worker) -> None:
    body = {"instances": [{"user_id": f"u{user % 50}", "k": 60} for user in range(1000)]}
    assert [status for status, _ in worker.ask(*[{"body": body}] * 8)] == [200] * 8


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def ranking_worker(
    ranking_archives: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Worker:
    """The same of a ranking archive."""
    folder = tmp_path_factory.mktemp("models") / "unpacked"
    with zipfile.ZipFile(ranking_archives / f"ranking-{request.param}.mar") as archive:
        archive.extractall(folder)
    return Worker(folder, {"torchtowers": {"max_candidates": 9}}, RankingHandler).load()


RANKING: list[tuple[dict[str, object], int]] = [
    ({"body": {"user_id": "u3", "candidates": ["100", "159", "nothing", 100]}}, 200),
    ({"body": {"user_id": "u3", "candidates": []}}, 400),
    ({"body": b'{"instances": [{"user_id": "u1"}, {"user_id": "x"}], "candidates": ["101"], "k": 1}'}, 200),
    ({"body": {"user_id": "u3", "candidates": ["1"] * 10}}, 400),
    ({"user_id": b"u5", "hour": b"7", "candidates": b'["101", {"item_id": 5, "year": 1999}]'}, 200),
    ({"body": {"user_id": "u3"}}, 400),
    ({"body": {"user_id": "u3", "candidates": [{"item_id": "5", "year": "new"}]}}, 400),
    ({"body": {"user_id": "u4", "hour": "noon", "candidates": ["101"]}}, 400),
    ({"body": {"user_id": "u4", "age": 10**400, "candidates": ["\ud800"]}}, 200),
]


def test_ranking_requests_of_a_batch_are_apart(ranking_worker: Worker) -> None:
    assert check_batch(ranking_worker, [item for item, _ in RANKING]) == [status for _, status in RANKING]


ranking_bodies = st.dictionaries(
    st.sampled_from(["user_id", "age", "history", "hour", "k", "parameters", "instances"]) | texts,
    json_values,
    max_size=3,
).flatmap(
    lambda body: st.lists(
        st.sampled_from(["100", "101", {"item_id": "102"}, {"item_id": "x", "year": 1990}]) | json_values,
        max_size=4,
    ).map(lambda candidates: {"user_id": "u1", "candidates": candidates} | body)
)


@examples(60)
@given(batch=st.lists(ranking_bodies.map(lambda body: {"body": body}), max_size=5))
def test_any_ranking_batch_gives_each_request_what_it_gets_alone(
    ranking_worker: Worker, batch: list[dict[str, Any]]
) -> None:
    check_batch(ranking_worker, batch)


def test_a_fault_of_ours_costs_one_request(
    small: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(item: Mapping[str, object], *rest: Any) -> object:
        if item["body"] == "fault":
            raise ZeroDivisionError("ours")
        return json_of(item, *rest)

    monkeypatch.setattr("torchtowers.handlers.base.json_of", faulty)
    first, second = small.ask({"body": "fault"}, {"body": {"user_id": "u1", "k": 1}})
    assert first[0] == 500
    assert first[1]["type"] == "internal_error"
    assert "ours" not in first[1]["message"]
    assert second == (200, {"items": ["12"], "scores": [4]})
    assert "ZeroDivisionError: ours" in caplog.text


def test_an_answer_that_is_too_large_costs_one_request(small: Worker) -> None:
    model = small.handler.model
    assert model is not None
    exact = len(b'{"items": ["12"], "scores": [4]}')
    model.limits = replace(model.limits, max_answer_bytes=exact)
    one = {"user_id": "u1", "k": 1}
    fits, large, many, also_fits = small.ask(
        {"body": one}, {"body": {"user_id": "u1"}}, {"body": {"instances": [one, one, one]}}, {"body": one}
    )
    assert fits == also_fits == (200, {"items": ["12"], "scores": [4]})
    for status, answer in (large, many):
        assert status == answer["code"] == 413
        assert answer["type"] == "limit_exceeded"
        assert f"at most {exact} are allowed: ask for fewer rows, items or fields" in answer["message"]
    # One row would just fit, were it not for what the dialect puts around it.
    ((status, _),) = small.ask({"body": {"instances": [one]}})
    assert status == 413


def test_an_empty_batch(small: Worker) -> None:
    assert small.ask() == []


def test_errors_of_rows_name_their_place(small: Worker) -> None:
    ((status, answer),) = small.ask(
        {"body": {"instances": [{"user_id": "u1"}, {"user_id": "u2", "age": "old"}]}}
    )
    assert status == 400
    assert answer == {
        "code": 400,
        "type": "bad_field",
        "message": "instances[1].age: expected a finite number, got old",
        "error": "instances[1].age: expected a finite number, got old",
        "field": "instances[1].age",
    }


def test_needs_to_be_initialized() -> None:
    with pytest.raises(ArtifactError, match="handle was called before initialize"):
        BaseHandler().handle([{}], None)


def test_takes_its_limits_from_the_configuration(artifact: Path) -> None:
    made = Worker(artifact, {"torchtowers": {"max_k": 5, "max_rows": 2, "threads": 1}}).load()
    model = made.handler.model
    assert model is not None
    assert model.limits == Limits(max_k=5, max_rows=2)
    assert [status for status, _ in made.ask({"body": {"user_id": "u1", "k": 6}})] == [400]
    assert len(made.ask({"body": {"user_id": "u1"}})[0][1]["items"]) == 5


@pytest.mark.parametrize("config", [None, {}, {"torchtowers": None}, {"torchtowers": {}}, []])
def test_no_configuration_means_the_defaults(config: object) -> None:
    assert Settings.from_config(config) == Settings()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("max_k", "torchtowers in model-config.yaml has to be a mapping, got max_k"),
        ([], "torchtowers in model-config.yaml has to be a mapping"),
        (
            {"max_row": 5},
            "torchtowers.max_row in model-config.yaml: unknown; known are threads, warm_up, ",
        ),
        ({5: 5}, "torchtowers.5 in model-config.yaml: unknown"),
        ({"max_k": "5"}, "torchtowers.max_k: expected a positive integer, got 5"),
        ({"max_rows": 0}, "torchtowers.max_rows: expected a positive integer, got 0"),
        ({"threads": "two"}, "torchtowers.threads: expected a positive integer, got two"),
        ({"threads": 0}, "torchtowers.threads: expected a positive integer, got 0"),
        ({"warm_up": 1}, "torchtowers.warm_up: expected true or false, got 1"),
        ({"allow_cpu": "yes"}, "torchtowers.allow_cpu: expected true or false, got yes"),
        (
            {"precision": "half"},
            "torchtowers.precision: expected one of float32, bfloat16, float16, got half",
        ),
        ({"precision": 16}, "torchtowers.precision: expected one of float32, bfloat16, float16, got 16"),
        ({"precision": ["float16"]}, r"torchtowers.precision: expected one of .*, got \['float16'\]"),
        ({"precision": True}, "torchtowers.precision: expected one of float32, bfloat16, float16, got True"),
        (
            {"sample_tolerance": True},
            "torchtowers.sample_tolerance: expected a number from 0 to below 1",
        ),
        ({"sample_tolerance": 1}, "torchtowers.sample_tolerance: expected a number from 0 to below 1, got 1"),
    ],
)
def test_refuses_a_malformed_configuration(tmp_path: Path, settings: object, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Worker(tmp_path, {"torchtowers": settings}).load()


@pytest.mark.parametrize(
    ("settings", "scores"),
    [
        ({}, 1e-4),
        ({"precision": "float32"}, 1e-4),
        ({"precision": "bfloat16"}, 2**-5),
        ({"precision": "float16"}, 2**-8),
        ({"precision": "float16", "sample_tolerance": 0.5}, 0.5),
        ({"precision": "bfloat16", "sample_tolerance": 0}, 0.0),
    ],
)
def test_the_tolerance_follows_from_the_precision_unless_it_is_given(
    settings: dict[str, object], scores: float
) -> None:
    found = Settings.from_config({"torchtowers": settings})
    assert found.tolerance("retrieval") == Tolerance(scores)
    half = found.precision != "float32"
    assert found.tolerance("recommendation") == Tolerance(scores, shared=0.5 if half else 1.0)


def test_refuses_a_folder_that_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(TowersError, match="it is not an artifact"):
        Worker(tmp_path).load()


def unpacked(archives: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archives / "tiny-onnx.mar") as archive:
        archive.extractall(folder)
    return folder


def test_warms_up_with_recorded_requests_of_every_batch_size(archives: Path, tmp_path: Path) -> None:
    sizes: list[int] = []

    class Watched(RetrievalHandler):
        def handle(self, data: Sequence[Mapping[str, object]], context: Any) -> list[bytes]:
            answers = super().handle(data, context)
            assert all("items" in strict_json(answer) for answer in answers)
            sizes.append(len(data))
            return answers

    folder = unpacked(archives, tmp_path)
    count = len(read_samples(folder / "samples.json"))
    Worker(folder, {"torchtowers": {"max_k": 5}}, handler=Watched).load()
    assert sizes == [1] * count + [1, 2, 4, 8, 16, 32]
    sizes.clear()
    Worker(folder, {"torchtowers": {"warm_up": False}}, handler=Watched).load()
    assert sizes == []


def test_is_not_ready_where_a_recorded_request_is_answered_otherwise(archives: Path, tmp_path: Path) -> None:
    folder = unpacked(archives, tmp_path)
    samples = read_samples(folder / "samples.json")
    off = {**samples[3].answer, "scores": [score + 0.01 for score in samples[3].answer["scores"]]}
    write_samples(folder, [*samples[:3], replace(samples[3], answer=off)])
    handler = RetrievalHandler()
    handler.model = Worker(unpacked(archives, tmp_path / "good")).load().handler.model
    with pytest.raises(ArtifactError, match=r"the recorded request .* is not answered as at export"):
        check_samples(handler._rehearse, read_samples(folder / "samples.json"), Tolerance())
    check_samples(handler._rehearse, read_samples(folder / "samples.json"), Tolerance(0.02))


# ---- calls of Open Inference's gRPC, as TorchServe hands them over ----

CALL = {"body": {"content-type": "application/json"}}


def call_of(*inputs: dict[str, Any]) -> dict[str, object]:
    """Give the body that TorchServe makes of a call: `id` is there, and BYTES are base64."""
    encoded = []
    for tensor in inputs:
        data = tensor["data"]
        if tensor["datatype"] == "BYTES":
            data = [base64.b64encode(value.encode()).decode() for value in data]
        encoded.append({**tensor, "data": data})
    return {"body": {"id": "", "model_name": "tiny", "inputs": encoded}}


USER = {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["u1"]}


def test_a_call_gets_what_the_same_tensors_get_over_rest(small: Worker) -> None:
    ((status, answer),) = small.ask(call_of(USER), headers=CALL)
    assert status == 200
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("", "tiny", "")
    ((_, over_rest),) = small.ask({"body": {"inputs": [USER]}})
    assert answer["outputs"] == over_rest["outputs"]
    assert answer["outputs"][0]["data"] == ["12", "13", "10", "11"]
    # The same JSON with a header came over REST, and its texts are texts.
    ((_, as_text),) = small.ask(call_of(USER), headers={**CALL, "Host": "localhost"})
    assert as_text["outputs"][0]["data"] == ["10", "11", "12", "13"]


@examples(100)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["user_id", "age", "k", "filter", "history", "x"]) | json_values,
                "shape": st.lists(st.integers(0, 3), max_size=3) | json_values,
                "datatype": st.sampled_from(["BYTES", "INT64", "FP32", "BOOL"]) | json_values,
                "data": st.lists(st.sampled_from(["dTE=", "!", 1, 2.5, True]), max_size=3) | json_values,
            },
        )
        | json_values,
        max_size=3,
    )
)
def test_a_call_always_gets_a_message(worker: Worker, inputs: list[Any]) -> None:
    """TorchServe's worker dies of an answer without id, model or outputs."""
    body = {"id": "", "model_name": "tiny", "inputs": inputs}
    ((status, answer), (good, _)) = worker.ask({"body": body}, call_of(USER), headers=CALL)
    assert good == 200
    assert 200 <= status < 500
    assert all(isinstance(answer[name], str) for name in ("id", "model_name", "model_version"))
    for output in answer["outputs"]:
        assert output.keys() == {"name", "datatype", "shape", "data"}
    if status != 200:
        (output,) = answer["outputs"]
        assert (output["name"], output["data"][0]["code"]) == ("error", status)


def test_a_text_that_is_not_utf_8_is_refused(small: Worker) -> None:
    body = call_of(USER)
    body["body"]["inputs"][0]["data"] = ["/w=="]  # type: ignore[index]
    ((status, answer),) = small.ask(body, headers=CALL)
    assert status == 400
    assert answer["outputs"][0]["data"][0]["message"] == (
        "inputs[0].data[0]: expected UTF-8 in BYTES, got /w=="
    )


@pytest.mark.parametrize(
    ("item", "headers"),
    [
        ({"body": {"user_id": "u1"}}, {"Content-Length": "101"}),
        ({"body": {"user_id": "u1"}}, {"content-length": "101"}),
        ({"body": b'{"user_id": "u1"}' + b" " * 90}, {}),
        ({"body": bytearray(b'{"user_id": "u1"}' + b" " * 90)}, {"Content-Length": "nonsense"}),
    ],
)
def test_a_body_over_the_limit_is_refused(
    tmp_path: Path, item: dict[str, object], headers: dict[str, object]
) -> None:
    made = Worker(tmp_path)
    made.handler.model = small_recommender(tmp_path, limits=Limits(max_body_bytes=100))
    ((status, answer),) = made.ask(item, headers=headers)
    assert (status, answer["type"]) == (413, "limit_exceeded")
    assert "at most 100 are allowed" in answer["message"]
    ((status, _),) = made.ask({"body": {"user_id": "u1"}}, headers={"Content-Length": "100"})
    assert status == 200


@pytest.fixture
def without_cuda(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact on a machine whose GPU can't be used."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    return artifact


@pytest.mark.parametrize("config", [None, {"torchtowers": {"allow_cpu": False}}])
def test_a_worker_with_a_gpu_that_it_can_not_use_does_not_start(without_cuda: Path, config: object) -> None:
    worker = Worker(without_cuda, config)
    worker.context.system_properties["gpu_id"] = 0
    with pytest.raises(RuntimeUnavailableError, match="given GPU 0, but onnxruntime has no CUDA provider"):
        worker.load()


def test_it_goes_on_with_the_cpu_where_that_is_allowed_and_warns(
    without_cuda: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(without_cuda, {"torchtowers": {"allow_cpu": True}})
    worker.context.system_properties["gpu_id"] = 0
    with caplog.at_level(logging.WARNING):
        worker.load()
    assert (
        "the model runs on the CPU, as torchtowers.allow_cpu allows: the worker was given GPU 0"
        in caplog.text
    )
    ((status, answer),) = worker.ask({"body": b'{"user_id": "u1", "k": 3}'})
    assert (status, len(answer["items"])) == (200, 3)
