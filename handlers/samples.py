"""Requests recorded at export with their answers: what a worker warms up with, and checks itself by."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchtowers.handlers.agreement import Tolerance, agree
from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = [
    "FILE_NAME",
    "Sample",
    "check_samples",
    "parse_samples",
    "read_samples",
    "warm_up",
    "write_samples",
]

FILE_NAME = "samples.json"

# The answers of a batch to its bodies.
Answer = Callable[[Sequence[Any]], Sequence[bytes]]


@dataclass(frozen=True)
class Sample:
    """A request and what it has to be answered.

    Args:
        request: The parsed body.
        answer: The parsed answer.
    """

    request: Mapping[str, Any]
    answer: Any


def write_samples(folder: Path, samples: Sequence[Sample]) -> None:
    """Write samples.json, a sample a line."""
    lines = ",\n".join(json.dumps(vars(sample), ensure_ascii=False, allow_nan=False) for sample in samples)
    (folder / FILE_NAME).write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read_samples(path: Path) -> tuple[Sample, ...]:
    """Read what `write_samples` wrote.

    Raises:
        ArtifactError: The file is missing or malformed, or holds no sample.
    """
    try:
        return parse_samples(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path.name} can't be read: {shorten(str(error))}; export again") from error


def parse_samples(content: bytes) -> tuple[Sample, ...]:
    """Parse the content of samples.json.

    Raises:
        ArtifactError: It is malformed, or holds no sample.
    """
    try:
        samples = tuple(Sample(entry["request"], entry["answer"]) for entry in json.loads(content))
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise ArtifactError(f"{FILE_NAME} can't be read: {shorten(str(error))}; export again") from error
    if not samples or not all(isinstance(sample.request, dict) for sample in samples):
        raise ArtifactError(f"{FILE_NAME} has to hold requests and their answers; export again")
    return samples


def warm_up(answer: Answer, samples: Sequence[Sample], batch_size: int) -> None:
    """Answer batches of each size that doubles up to the largest, so that no request meets a cold model.

    Args:
        answer: Answers a batch.
        samples: What is asked, again and again.
        batch_size: The largest batch that will come.
    """
    size = 1
    while True:
        answer([samples[place % len(samples)].request for place in range(size)])
        if size >= batch_size:
            return
        size = min(size * 2, batch_size)


def check_samples(answer: Answer, samples: Sequence[Sample], tolerance: Tolerance) -> None:
    """Compare the answers with the recorded ones.

    Args:
        answer: Answers a batch.
        samples: What is asked.
        tolerance: How far they may differ.

    Raises:
        ArtifactError: One differs.
    """
    for sample in samples:
        (content,) = answer([sample.request])
        try:
            got = json.loads(content)
        except ValueError:
            got = content
        if not agree(sample.answer, got, tolerance):
            raise ArtifactError(
                f"the recorded request {shorten(json.dumps(sample.request))} is not answered as at export: "
                f"expected {_cut(sample.answer)}, got {_cut(got)}; the libraries here compute otherwise, or "
                f"less precisely than torchtowers.sample_tolerance in model-config.yaml, {tolerance.scores:g}"
            )


def _cut(answer: Any) -> str:
    return shorten(json.dumps(answer) if not isinstance(answer, bytes) else repr(answer))
