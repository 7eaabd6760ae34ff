"""What the trained model answers to verification's questions, kept beside the files that have to agree.

The questions follow from the artifact's features and are asked anew; the answers are the eager model's, so
that an artifact can be verified later and elsewhere, where neither the run nor its data is.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.export.comparison import BATCH_SIZES
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.export.questions import (
    Entities,
    encode_for_training,
    random_inputs,
    retrieval_rows,
)
from torchtowers.export.ranking_questions import encode_pairs, fused_rows, ranking_rows
from torchtowers.export.tower_inputs import ranking_query
from torchtowers.handlers.encoders import Encoder
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.retrieval_model import RetrievalModel

__all__ = [
    "EXPECTED_FILE",
    "digest_of",
    "expected_ranking",
    "expected_retrieval",
    "inputs_of",
    "read_expected",
    "same_question",
    "write_expected",
]

EXPECTED_FILE = "verification.safetensors"

_AT_ONCE = 256

Arrays = Mapping[str, NDArray[Any]]


def inputs_of(encoders: Mapping[str, Encoder], batch: int) -> dict[str, NDArray[Any]]:
    """Give the encoded inputs that an exported file is asked with, the same each time."""
    return random_inputs(encoders, batch, np.random.default_rng(batch))


def digest_of(questions: object) -> NDArray[np.uint8]:
    """Give the sha256 of inputs or rows, as an array: answers are of no use for other questions."""
    digest = hashlib.sha256()
    if isinstance(questions, Mapping):
        for name, array in questions.items():
            digest.update(f"{name} {array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    else:
        digest.update(json.dumps(questions, default=asdict).encode())
    return np.frombuffer(digest.digest(), np.uint8)


def expected_retrieval(model: RetrievalModel, dataset: Dataset, *, lookup: bool) -> dict[str, NDArray[Any]]:
    """Ask the trained model for embeddings of encoded inputs and of raw rows.

    Args:
        model: In evaluation mode.
        dataset: Its data.
        lookup: Whether the artifact fills in what is known of users.

    Returns:
        By question, `query/64`, `candidate/64` or `recommendations/64`, float32 `[batch, dim]`; and the
        questions' sha256, as `query/64/asked`.
    """
    answers: dict[str, NDArray[Any]] = {}
    for batch in BATCH_SIZES:
        for name, tower, table in (
            ("query", model.query_tower, dataset.users),
            ("candidate", model.candidate_tower, dataset.items),
        ):
            _ask(answers, f"{name}/{batch}", tower, inputs_of(table.encoders, batch))
        rows = retrieval_rows(
            dataset.users, dataset.items.tokens, batch, has_history=dataset.history is not None
        )
        encoded = encode_for_training(dataset.users, rows, lookup=lookup)
        _ask(answers, f"recommendations/{batch}", model.query_tower, encoded, rows)
    return answers


def expected_ranking(model: nn.Module, dataset: Dataset, *, lookup: bool) -> dict[str, NDArray[Any]]:
    """Ask the trained model for scores of encoded inputs and of raw rows.

    Args:
        model: In evaluation mode.
        dataset: Its data.
        lookup: Whether the artifact fills in what is known of users and items.

    Returns:
        By question, `scores/64` and `answers/64`, and `fused/64` of candidates by their ids alone; float32,
        and the questions' sha256, as `scores/64/asked`.
    """
    answers: dict[str, NDArray[Any]] = {}
    query: Entities = ranking_query(dataset)
    for batch in BATCH_SIZES:
        _ask(
            answers, f"scores/{batch}", model, inputs_of({**query.encoders, **dataset.items.encoders}, batch)
        )
        rows = ranking_rows(query, dataset.items, batch)
        for name, asked in (("answers", rows), ("fused", fused_rows(rows, dataset.items.key))):
            _ask(answers, f"{name}/{batch}", model, encode_pairs(dataset, asked, lookup=lookup), asked)
    return answers


def _ask(
    answers: dict[str, NDArray[Any]], name: str, module: nn.Module, inputs: Arrays, rows: object = None
) -> None:
    count = len(next(iter(inputs.values())))
    parts = []
    with torch.inference_mode():
        # In blocks, since long lists of many rows are more than the memory holds.
        for first in range(0, count, _AT_ONCE):
            block = {name: array[first : first + _AT_ONCE] for name, array in inputs.items()}
            parts.append(module(to_tensors(block)).numpy())
    answers[name] = np.ascontiguousarray(np.concatenate(parts))
    answers[f"{name}/asked"] = digest_of(inputs if rows is None else rows)


def write_expected(folder: Path, expected: Arrays) -> None:
    """Write the answers into the artifact."""
    # Not by safetensors' own writer, whose file only its owner may read.
    (folder / EXPECTED_FILE).write_bytes(save(dict(expected)))


def read_expected(folder: Path) -> dict[str, NDArray[Any]]:
    """Read the answers of an artifact.

    Raises:
        ExportError: The artifact has none.
    """
    try:
        return load_file(folder / EXPECTED_FILE)
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{folder} holds no {EXPECTED_FILE} that can be read ({error}): export the run again"
        ) from error
    except Exception as error:  # safetensors' own class
        raise VerificationError(f"{EXPECTED_FILE} in {folder} is damaged ({error})") from error


def same_question(expected: Arrays, name: str, asked: object) -> NDArray[np.float32]:
    """Give the answer to a question.

    Raises:
        VerificationError: There is none, or it was to another question.
    """
    if name not in expected or not np.array_equal(expected.get(f"{name}/asked", ()), digest_of(asked)):
        raise VerificationError(
            f"the artifact holds no trained model's answer to {name}: numpy or torchtowers draws other "
            "questions than the version that exported it; verify with that version, or export again"
        )
    return expected[name]
