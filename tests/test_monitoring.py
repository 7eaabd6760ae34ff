"""What a real TorchServe tells of its models: metrics, log lines, JSON Schemas, OpenAPI documents."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.fuzz.corpus import requests
from tests.servers import MODELS, free_ports_config, running
from torchtowers.cli.main import main
from torchtowers.handlers.measures import METRICS
from torchtowers.serving import Client, Server, current_token, describe
from torchtowers.serving.errors import AnswerError, BadRequestError

pytestmark = pytest.mark.java

DASHBOARD = Path(__file__).parents[1] / "examples" / "monitoring" / "dashboard.json"
PROMETHEUS = DASHBOARD.with_name("prometheus.yml")
USERS, ITEMS = ("u3", "u7"), ("100", "101", "102")
UNKNOWN = "nobody"

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture(scope="module")
def server(mixed_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the shipped configuration but for its ports."""
    folder = tmp_path_factory.mktemp("monitoring")
    with running(mixed_archives, free_ports_config(folder), folder / "state") as started:
        yield started


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Client]:
    with Client.from_state(server.state) as connected:
        yield connected


def scrape(server: Server) -> Samples:
    """Ask as Prometheus does, and read the text format."""
    text = httpx.get(f"{server.record.metrics}/metrics", trust_env=False).raise_for_status().text
    samples: Samples = defaultdict(dict)
    for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.MULTILINE):
        pairs = tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))
        samples[name][pairs] = float(value)
    return samples


def value(samples: Samples, name: str, model: str, **labels: str) -> float:
    """Add up a metric's samples of a model."""
    wanted = {("model_name", model), *labels.items()}
    return sum(number for pairs, number in samples[name].items() if wanted <= set(pairs))


def ask_all(client: Client, model: str, kind: str) -> None:
    """Send 5 good requests of 9 rows, one of which is unknown, and 3 bad ones; over REST and gRPC."""
    more: dict[str, Any] = {"candidates": ["100", "x"]} if kind == "ranking" else {"k": 3}
    client.predict(model, {"user_id": "u3", **more})
    client.predict(model, {"user_id": UNKNOWN, **more}, grpc=True)
    client.predict(
        model, {"instances": [{"user_id": user, **more} for user in ("u1", "u2", "u4", "u5", "u6")]}
    )
    empty = {} if kind == "ranking" else {"min_score": 1e30}
    client.predict(model, {"user_id": "u3", **more, **empty})
    client.predict(model, {"user_id": "u3", **more, **empty}, grpc=True)
    for bad in ({"user_id": "u3", "age": "old", **more}, {"nothing": 1}):
        with pytest.raises(BadRequestError):
            client.predict(model, bad)
    with pytest.raises(BadRequestError):
        client.predict(model, {"instances": [{"user_id": "u3", **more}] * 1001}, grpc=True)


@pytest.mark.parametrize(("model", "kind"), MODELS.items())
def test_metrics_count_what_was_asked(server: Server, client: Client, model: str, kind: str) -> None:
    before = scrape(server)
    ask_all(client, model, kind)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, model, **labels) - value(before, name, model, **labels)

    expected = {
        ("torchtowers_requests_total", "ok"): 5,
        ("torchtowers_requests_total", "bad_field"): 2,
        ("torchtowers_requests_total", "limit_exceeded"): 1,
        ("torchtowers_requests_total", "internal_error"): 0,
        ("torchtowers_rows_total", ""): 9,
        ("torchtowers_unknown_ids_total", ""): 1,
        ("torchtowers_empty_answers_total", ""): 0 if kind == "ranking" else 2,
        ("torchtowers_batches_total", ""): 8,
    }
    until = time.monotonic() + 15
    while True:
        # Workers send what they have counted once a second.
        after = scrape(server)
        found = {
            (name, outcome): grown(name, **({"outcome": outcome} if outcome else {}))
            for name, outcome in expected
        }
        if found == expected or time.monotonic() > until:
            break
        time.sleep(0.2)
    assert found == expected
    # Each was asked alone, so that every batch is of one.
    assert (
        grown("torchtowers_batch_size_bucket", le="1")
        == grown("torchtowers_batch_size_bucket", le="+Inf")
        == 8
    )
    assert grown("torchtowers_batch_seconds_bucket", le="+Inf") == 8
    assert 0 < grown("torchtowers_batch_seconds_sum") < 60
    stages = {"encode", "decode", *({"rank"} if kind != "retrieval" else ())}
    stages |= {"tower", "index", "answer"} if kind != "ranking" else set()
    for stage in stages:
        assert 0 < grown("torchtowers_stage_seconds_total", stage=stage) < 60, stage


def test_the_dashboard_shows_metrics_that_are_there(server: Server, client: Client) -> None:
    for model, kind in MODELS.items():
        ask_all(client, model, kind)
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions.append(dashboard["templating"]["list"][1]["query"]["query"])
    shown = {name for text in expressions for name in re.findall(r"\b(?:torchtowers|ts)_\w+", text)}
    assert shown >= METRICS.keys() - {"torchtowers_batch_size_bucket", "torchtowers_batch_seconds_sum"}
    until = time.monotonic() + 15
    while not shown <= (samples := scrape(server)).keys() and time.monotonic() < until:
        time.sleep(0.2)
    assert shown <= samples.keys()
    for text in expressions:
        for name, selected in re.findall(r"(\w+)\{([^}]*)\}", text):
            labels = {label for pairs in samples[name] for label, _ in pairs}
            assert set(re.findall(r"(\w+)[!=]", selected)) <= labels
    assert httpx.URL(server.record.metrics).path in ("", "/")
    assert "metrics_path: /metrics" in PROMETHEUS.read_text(encoding="utf-8")


def log_lines(server: Server) -> list[dict[str, Any]]:
    lines = []
    for line in (server.logs / "model_log.log").read_text(encoding="utf-8").splitlines():
        _, begin, rest = line.partition('{"event"')
        if begin:
            with suppress(ValueError):
                lines.append(json.loads(begin + rest))
    return lines


def test_workers_log_lines_that_a_machine_reads(server: Server) -> None:
    until = time.monotonic() + 10
    while len(loaded := [line for line in log_lines(server) if line["event"] == "loaded"]) < len(MODELS):
        assert time.monotonic() < until
        time.sleep(0.2)
    pids = {model.name: worker.pid for model in server.models for worker in model.workers}
    assert {line["model"]: line["pid"] for line in loaded} == pids
    assert {line["version"] for line in loaded} == {"1.0"}
    assert all(line["seconds"] > 0 and line["threads"] >= 1 for line in loaded)


@pytest.mark.parametrize(("model", "kind"), MODELS.items())
def test_a_good_row_fits_the_schema_and_a_bad_one_does_not(
    server: Server, client: Client, model: str, kind: str
) -> None:
    told = describe(model, state=server.state)
    for schema in (told["request"], told["answer"]):
        Draft202012Validator.check_schema(schema)
    row, answer = (Draft202012Validator(told[name]) for name in ("request", "answer"))
    plain = [body for body in requests(USERS, ITEMS, kind) if "user_id" in body]
    assert len(plain) == 3
    for body in plain:
        row.validate(body)
        answer.validate(client.predict(model, body))
    changes: list[dict[str, Any]] = [
        {"user_id": None},
        {"user_id": True},
        {"age": "old"},
        {"history": "100"},
        {"k": 0},
        {"k": "many"},
        {"nothing": 1},
        {"parameters": {"nothing": 1}},
    ]
    if kind == "ranking":
        changes += [{"candidates": []}, {"candidates": [None]}, {"candidates": [{"plot": "x"}]}]
    else:
        changes += [{"filter": {"plot": 1}}, {"filter": {"year": {"least": 1}}}, {"fields": ["plot"]}]
        changes += [
            {"k": 10_001},
            {"exclude": ["1"] * 10_001},
            {"diversity": {"genres": 0}},
            {"min_score": "1"},
        ]
    for change in changes:
        body = {**plain[0], **change}
        assert not row.is_valid(body), change
        with pytest.raises(BadRequestError):
            client.predict(model, body)


@pytest.mark.parametrize(("model", "kind"), MODELS.items())
def test_the_openapi_document_is_one(server: Server, client: Client, model: str, kind: str) -> None:
    document = describe(model, version="1.0", state=server.state)["openapi"]
    validate(document)
    assert document["info"]["version"] == "1.0"
    token = current_token(state=server.state)
    bodies = requests(USERS, ITEMS, kind)
    for path, body in zip(document["paths"], (bodies[0], bodies[3], bodies[7]), strict=True):
        posted = document["paths"][path]["post"]
        answer = httpx.post(
            f"{server.record.inference}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        _fits(document, posted["requestBody"], body)
        _fits(document, posted["responses"]["200"], answer.json())
    _fits(
        document, posted["responses"]["400"], {"code": 400, "type": "bad_field", "message": "", "field": "k"}
    )


def _fits(document: dict[str, Any], described: dict[str, Any], content: Any) -> None:
    schema = described["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(content)


def test_the_command_describes_a_model(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["serve", "describe", "tiny-onnx", "--state", str(server.state)]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["field", "required", "values"]
    assert [line.split()[:2] for line in lines if line.startswith("user_id")] == [["user_id", "yes"]]
    assert any("integer from 1 to 10000 by default 10" in line for line in lines)
    told = describe("tiny-onnx", state=server.state)
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"request": told["request"], "answer": told["answer"]}
    out = tmp_path / "openapi.json"
    assert main([*command, "--version", "1.0", "--openapi", "--out", str(out)]) == 0
    assert json.loads(out.read_text(encoding="utf-8")) == told["openapi"]
    with pytest.raises(AnswerError, match="nobody") as caught:
        describe("nobody", state=server.state)
    assert caught.value.code == 404
    assert main(["serve", "describe", "nobody", "--state", str(server.state)]) == 2
