"""Exported files against the model that was trained: the same inputs have to give the same answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchtowers.data.dataset import Dataset
from torchtowers.export.errors import VerificationError
from torchtowers.handlers.encoders import Encoder
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.request import Row
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.signature import Signature
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.two_tower import TwoTower, to_tensors

__all__ = ["BATCH_SIZES", "TOLERANCE", "Comparison", "verify"]

TOLERANCE = 1e-5
BATCH_SIZES = (1, 2, 7, 64)

_UNKNOWN_TOKEN = "\N{WHITE QUESTION MARK ORNAMENT} no such token"


@dataclass(frozen=True)
class Comparison:
    """One comparison with the trained model.

    Args:
        runtime: `torchscript` or `onnx`.
        compared: `query` or `candidate` embeddings, or `recommendations`: raw features to scores.
        batch: Its size.
        difference: The largest absolute difference; infinite where shapes differ or values are not finite.
    """

    runtime: str
    compared: str
    batch: int
    difference: float


def verify(folder: Path, signature: Signature, model: TwoTower, dataset: Dataset) -> list[Comparison]:
    """Compare every tower file, and each runtime's recommendations from raw features, with the eager model.

    Inputs hold every kind of index: missing, unknown, known, and empty and longest lists.

    Args:
        folder: The artifact.
        signature: Its signature; files need not be hashed yet.
        model: The trained model.
        dataset: Its data.

    Raises:
        VerificationError: A difference is above `TOLERANCE`; the worst one is named.
    """
    model.eval()
    comparisons = []
    for runtime, files in signature.towers.items():
        for name, tower, table in (
            ("query", model.query_tower, dataset.users),
            ("candidate", model.candidate_tower, dataset.items),
        ):
            comparisons += _compare_tower(runtime, name, folder / files[name], tower, table.encoders)
        comparisons += _compare_recommendations(runtime, folder, signature, model, dataset)
    worst = max(comparisons, key=lambda comparison: comparison.difference)
    if not worst.difference <= TOLERANCE:
        raise VerificationError(
            f"the {worst.runtime} {worst.compared} differ from the trained model by {worst.difference:.3g} at batch "
            f"size {worst.batch}, at most {TOLERANCE:g} is allowed; nothing was exported"
        )
    return comparisons


def _compare_tower(
    runtime: str, name: str, path: Path, tower: nn.Module, encoders: Mapping[str, Encoder]
) -> Iterator[Comparison]:
    exported = load_tower(runtime, path)
    generator = np.random.default_rng(0)
    for batch in BATCH_SIZES:
        inputs = _random_inputs(encoders, batch, generator)
        with torch.inference_mode():
            expected = tower(to_tensors(inputs)).numpy()
        yield Comparison(runtime, name, batch, _difference(exported(inputs), expected))


def _random_inputs(
    encoders: Mapping[str, Encoder], batch: int, generator: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    inputs = {}
    for name, encoder in encoders.items():
        if not encoder.is_list:
            indices = generator.integers(0, encoder.size, batch)
            indices[: min(batch, 2)] = (1, 0)[: min(batch, 2)]  # unknown and missing, also in small batches
            inputs[name] = indices
            continue
        longest = getattr(encoder, "max_length", 8)
        indices = generator.integers(0, encoder.size, (batch, longest))
        lengths = generator.integers(0, longest + 1, batch)
        lengths[-1] = longest
        lengths[0] = 0 if batch > 1 else longest
        indices[np.arange(longest) >= lengths[:, None]] = 0
        inputs[name] = indices
    return inputs


def _compare_recommendations(
    runtime: str, folder: Path, signature: Signature, model: TwoTower, dataset: Dataset
) -> Iterator[Comparison]:
    recommender = Recommender.load(folder, runtime=runtime, signature=signature)
    candidates = embed_candidates(model, dataset)
    for batch in BATCH_SIZES:
        rows = _rows(dataset, batch)
        answered = recommender.search([recommender.encoder.encode(row) for row in rows])
        with torch.inference_mode():
            queries = model.query_tower(to_tensors(_encode_for_training(dataset, rows))).numpy()
        expected = queries @ candidates.T
        difference = max(
            _difference(scores, expected[position][items])
            if len(items) == len(dataset.items)
            else float("inf")
            for position, (items, scores) in enumerate(answered)
        )
        yield Comparison(runtime, "recommendations", batch, difference)


def _rows(dataset: Dataset, batch: int) -> list[Row]:
    """Ask for the whole catalogue: known users by id alone, unknown users, sent and unknown values."""
    rows = []
    for position in range(batch):
        features: dict[str, object] = {}
        for name, encoder in dataset.users.encoders.items():
            features[name] = _raw_value(encoder, position)
        if position % 4 == 0:
            features = {dataset.users.key: dataset.users.tokens[position % len(dataset.users)]}
        rows.append(Row(features, k=len(dataset.items)))
    return rows


def _raw_value(encoder: Encoder, position: int) -> object:
    vocabulary = getattr(encoder, "vocabulary", None)
    if vocabulary is None:
        return (None, -1e9, 1e9, 30)[position % 4]
    tokens: Sequence[str] = vocabulary.tokens or (_UNKNOWN_TOKEN,)
    token = tokens[position % len(tokens)]
    if encoder.kind == "token":
        return (_UNKNOWN_TOKEN, token)[position % 2]
    if encoder.kind == "words":
        return (None, f"{token} {_UNKNOWN_TOKEN}")[position % 2]
    return (None, [], [_UNKNOWN_TOKEN, token], list(tokens))[position % 4]


def _encode_for_training(dataset: Dataset, rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
    """Encode as training does, which knows nothing of requests: a known id alone means the user's own row."""
    encoded: dict[str, list[Any]] = {name: [] for name in dataset.users.encoders}
    for row in rows:
        key = row.features[dataset.users.key]
        known = len(row.features) == 1 and key in dataset.users.tokens
        stored = dataset.users.take(np.array([dataset.users.tokens.index(str(key))])) if known else {}
        for name, encoder in dataset.users.encoders.items():
            value = row.features.get(name)
            encoded[name].append(stored[name][0] if known else encoder.encode([value])[0])
    return {name: _stack(values) for name, values in encoded.items()}


def _stack(values: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    if values[0].ndim == 0:
        return np.array(values, dtype=np.int64)
    stacked = np.zeros((len(values), max(len(value) for value in values)), dtype=np.int64)
    for row, value in enumerate(values):
        stacked[row, : len(value)] = value
    return stacked


def _difference(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if got.shape != expected.shape or not np.isfinite(got).all():
        return float("inf")
    return float(np.abs(got - expected).max(initial=0.0))
