"""Exported files against the model that was trained: the same inputs have to give the same answers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.export.errors import VerificationError
from torchtowers.export.questions import encode_for_training, random_inputs, raw_rows
from torchtowers.export.stored import check_stored
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.signature import Signature
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.retrieval_model import RetrievalModel

__all__ = [
    "BATCH_SIZES",
    "TOLERANCE",
    "Comparison",
    "check_worst",
    "compare_module",
    "difference_of",
    "verify",
]

TOLERANCE = 1e-5
BATCH_SIZES = (1, 2, 7, 64)

# Items that a compared answer holds: the whole of a small catalogue, and of a large one no gigabytes of JSON.
_MOST_ITEMS = 1000


@dataclass(frozen=True)
class Comparison:
    """One comparison with the trained model.

    Args:
        runtime: `torchscript` or `onnx`.
        compared: `query` or `candidate` embeddings, or `recommendations`: raw features to an answer's scores;
            of a ranking model its `scores`, and `answers`, from raw features.
        batch: Its size.
        difference: The largest difference, relative above 1; infinite where shapes or items differ or a value
            is not finite.
    """

    runtime: str
    compared: str
    batch: int
    difference: float


def verify(folder: Path, model: RetrievalModel, dataset: Dataset) -> list[Comparison]:
    """Compare all that an artifact stores, every tower file, and each runtime's answers with the eager model.

    Inputs hold every kind of value: missing, unknown, known, and empty and longest lists.

    Args:
        folder: The artifact with its signature.
        model: The trained model.
        dataset: Its data.

    Raises:
        VerificationError: Something stored differs, or a number differs by more than `TOLERANCE`; the worst
            is named.
        ArtifactError: The artifact can't be read.
    """
    model.eval()
    signature = Signature.read(folder)
    candidates = embed_candidates(model, dataset)
    check_stored(folder, signature, dataset, candidates, TOLERANCE)
    comparisons: list[Comparison] = []
    for runtime, files in signature.towers.items():
        for name, tower, table in (
            ("query", model.query_tower, dataset.users),
            ("candidate", model.candidate_tower, dataset.items),
        ):
            comparisons += compare_module(runtime, name, folder / files[name], tower, table.encoders)
        recommender = Recommender.load(folder, runtime=runtime, signature=signature)
        comparisons += _compare_recommendations(runtime, recommender, model, dataset, candidates)
    check_worst(comparisons)
    return comparisons


def check_worst(comparisons: Sequence[Comparison]) -> None:
    """Refuse a difference above `TOLERANCE`.

    Raises:
        VerificationError: There is one; the worst is named.
    """
    worst = max(comparisons, key=lambda comparison: comparison.difference)
    if worst.difference > TOLERANCE:
        raise VerificationError(
            f"the {worst.runtime} {worst.compared} differ from the trained model's by {worst.difference:.3g} "
            f"at batch size {worst.batch}, at most {TOLERANCE:g} is allowed; nothing was exported"
        )


def compare_module(
    runtime: str, name: str, path: Path, tower: nn.Module, encoders: Mapping[str, Encoder]
) -> Iterator[Comparison]:
    """Compare an exported file with the module that it was made of.

    Args:
        runtime: The file's.
        name: What is compared.
        path: The file.
        tower: The module.
        encoders: Of its features, by name.
    """
    exported = load_tower(runtime, path)
    generator = np.random.default_rng(0)
    for batch in BATCH_SIZES:
        inputs = random_inputs(encoders, batch, generator)
        with torch.inference_mode():
            expected = tower(to_tensors(inputs)).numpy()
        yield Comparison(runtime, name, batch, difference_of(exported(inputs), expected))


def _compare_recommendations(
    runtime: str,
    recommender: Recommender,
    model: RetrievalModel,
    dataset: Dataset,
    candidates: NDArray[np.float32],
) -> Iterator[Comparison]:
    row_of = {token: row for row, token in enumerate(dataset.items.tokens)}
    lookup = bool(recommender.signature.query.lookup)
    for batch in BATCH_SIZES:
        rows = raw_rows(dataset.users, batch, min(len(dataset.items), _MOST_ITEMS))
        answers = recommender.answers([recommender.encoder.encode(row) for row in rows])
        with torch.inference_mode():
            queries = model.query_tower(to_tensors(encode_for_training(dataset.users, rows, lookup=lookup)))
        expected = queries.numpy() @ candidates.T
        difference = max(
            _difference_of_answer(answer, expected[position], row_of, rows[position].k)
            for position, answer in enumerate(answers)
        )
        yield Comparison(runtime, "recommendations", batch, difference)


def _difference_of_answer(
    answer: bytes, expected: NDArray[np.float32], row_of: Mapping[str, int], k: int
) -> float:
    """Compare each item's score with its own, by its id, and all of them with the k best there are."""
    content = json.loads(answer)
    rows = [row_of.get(item, -1) for item in content["items"]]
    if len(rows) != k or len(set(rows)) != k or -1 in rows:
        return float("inf")
    scores = np.array(content["scores"], dtype=np.float32)
    best = np.sort(expected)[::-1][:k]
    return max(difference_of(scores, expected[rows]), difference_of(scores, best))


def difference_of(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Give the largest difference; infinite where shapes differ or a value is not finite.

    It is absolute up to 1 and relative above, where a float of 32 bits has no more digits.
    """
    if got.shape != expected.shape or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("inf")
    return float((np.abs(got - expected) / np.maximum(np.abs(expected), 1.0)).max(initial=0.0))
