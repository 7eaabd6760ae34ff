"""The fuzzer's harness over its corpus and what was found, and the fuzzer itself where it is installed."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.corpus import EXAMPLES, requests
from tests.fuzz.mutations import VALUES, arbitrary_values, dumped, mutated, mutated_bytes
from tests.fuzz.target import KINDS, WAYS, Finding, Target

ROOT = Path(__file__).parents[2]
FINDINGS = sorted((Path(__file__).parent / "findings").iterdir())
COUNT = 40_000 if os.environ.get("TORCHTOWERS_ALL_TESTS") == "1" else 2_000


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = Target(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_begins_with_is_good(target: Target, kind: str) -> None:
    for body in requests(("u1", "new"), ("10", "11", "13"), kind):
        for way in ("rest", "grpc", "data", "text"):
            assert target.ask(kind, way, dumped(body)) == 200, body
    assert target.ask(kind, "call", dumped(requests(("u1", "new"), ("10", "11", "13"), kind)[7])) == 200


def test_a_form_is_a_row(target: Target) -> None:
    assert target.ask("retrieval", "form", b'user_id=u1\nk=2\nhistory=["10"]\nfilter={"year": 1982}') == 200
    assert target.ask("retrieval", "form", b"user_id=u1\nk=two") == 400


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: str(path.name))
def test_what_was_found_is_mended(target: Target, path: Path) -> None:
    target.check(path.read_bytes())


def test_any_change_of_a_good_request_is_answered(target: Target) -> None:
    chooser = random.Random(6)
    values = (*VALUES, *arbitrary_values(300))
    bodies = [
        *EXAMPLES,
        *(body for kind in KINDS for body in requests(("u1", "new"), ("10", "11", "13"), kind)),
    ]
    statuses: dict[int, int] = {}
    for _ in range(COUNT):
        body = chooser.choice(bodies)
        # Most changes make a request a bad one, so that some stay as they are.
        content = dumped(body if chooser.random() < 0.3 else mutated(chooser, body, values))
        if chooser.random() < 0.2:
            content = mutated_bytes(chooser, content)
        status = target.check(bytes([chooser.randrange(len(KINDS) * len(WAYS))]) + content)
        statuses[status] = statuses.get(status, 0) + 1
    # Changes that are all refused, or all taken, would look at half of the code.
    assert min(statuses.get(status, 0) for status in (200, 400)) > COUNT // 20


class _Breaks:
    """A part of a model that fails, or gives what is no answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __call__(self, rows: Sequence[Any]) -> list[Any]:
        if len(rows) > 2 and isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer if isinstance(self.answer, bytes) else b'{"items": [], "scores": []}'] * len(rows)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ValueError("no"), "a fault of ours"),
        (b'{"items": [1], "scores": [2, 3]}', "a good request beside it"),
    ],
)
def test_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, message: str) -> None:
    target = Target(tmp_path)
    try:
        monkeypatch.setattr(target._handlers[0].model, "answers", _Breaks(answer), raising=False)
        with pytest.raises(Finding, match=message):
            target.ask("retrieval", "rest", json.dumps({"user_id": "u1"}).encode())
    finally:
        target.close()


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: scripts/fuzz installs it")
def test_the_fuzzer_finds_nothing_in_some_seconds() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--seconds", "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "cov:" in ran.stderr
