from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from torchtowers.handlers.agreement import Tolerance
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.samples import Sample, check_samples, read_samples, warm_up, write_samples

SAMPLES = (
    Sample({"user_id": "é", "k": 1}, {"items": ["a"], "scores": [0.5]}),
    Sample({"user_id": "2"}, {"items": ["b"], "scores": [1.5]}),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_samples(tmp_path, SAMPLES)
    assert read_samples(tmp_path / "samples.json") == SAMPLES
    assert len((tmp_path / "samples.json").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", "[1]", '[{"request": {}}]', '[{"request": 1, "answer": 1}]']
)
def test_a_malformed_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "samples.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtifactError, match=r"samples\.json"):
        read_samples(path)


@pytest.mark.parametrize(
    ("largest", "sizes"), [(1, [1]), (2, [1, 2]), (5, [1, 2, 4, 5]), (32, [1, 2, 4, 8, 16, 32])]
)
def test_batches_of_every_size_come(largest: int, sizes: list[int]) -> None:
    asked: list[Sequence[Any]] = []

    def answer(bodies: Sequence[Any]) -> Sequence[bytes]:
        asked.append(bodies)
        return [b"{}"] * len(bodies)

    warm_up(answer, SAMPLES, largest)
    assert [len(bodies) for bodies in asked] == sizes
    assert all(body in [sample.request for sample in SAMPLES] for bodies in asked for body in bodies)


@pytest.mark.parametrize(
    "content",
    [b'{"items": ["a"], "scores": [0.6]}', b'{"code": 500, "type": "a", "message": "b"}', b"no JSON"],
)
def test_an_answer_of_another_kind_is_refused(content: bytes) -> None:
    check_samples(lambda _: [b'{"items": ["a"], "scores": [0.5000001]}'], SAMPLES[:1], Tolerance())
    with pytest.raises(ArtifactError, match=r'the recorded request .*"k": 1.* is not answered as at export'):
        check_samples(lambda _: [content], SAMPLES[:1], Tolerance())
