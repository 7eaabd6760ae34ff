"""An artifact against the model that was trained: the same inputs have to give the same answers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchtowers.data.dataset import Dataset
from torchtowers.export.combined_verification import compare_stages
from torchtowers.export.comparison import TOLERANCE, Comparison, check_worst
from torchtowers.export.errors import VerificationError
from torchtowers.export.expected import EXPECTED_FILE, read_expected
from torchtowers.export.ranking_verification import compare_ranking
from torchtowers.export.retrieval_verification import compare_retrieval
from torchtowers.export.stored import check_inputs, check_stored
from torchtowers.export.tower_inputs import ranking_query
from torchtowers.handlers.combined_signature import CombinedSignature, read_signature
from torchtowers.handlers.signature import Signature
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.experiment import Trained
from torchtowers.models.ranker import Ranker
from torchtowers.models.retrieval_model import as_retrieval_model

__all__ = ["verify", "verify_artifact"]


def verify(folder: Path, trained: Trained) -> list[Comparison]:
    """Compare all that an artifact stores with the data, and all that it answers with the trained model.

    Args:
        folder: The artifact with its signature and the expected answers.
        trained: The run that it was exported from.

    Raises:
        VerificationError: Something stored differs, or a number differs by more than `TOLERANCE`; the worst
            is named.
        ArtifactError: The artifact can't be read.
    """
    signature = Signature.read(folder)
    dataset = trained.dataset
    candidates = None
    if isinstance(trained.model, Ranker):
        _check_ranking(folder, signature, dataset)
    else:
        candidates = embed_candidates(as_retrieval_model(trained.model), dataset)
        check_stored(folder, signature, dataset, candidates, TOLERANCE)
    return _compare(folder, "", signature, candidates)


def verify_artifact(folder: str | Path) -> list[Comparison]:
    """Verify an artifact where its run is not: its files' sha256, and its answers.

    They are compared with the trained model's, which were kept when it was exported.

    Args:
        folder: The artifact.

    Raises:
        VerificationError: A number differs by more than `TOLERANCE`; the worst is named.
        ArtifactError: The artifact can't be read, or a file was altered.
        RuntimeUnavailableError: The library of one of its formats is not installed.
    """
    folder = Path(folder)
    signature = read_signature(folder)
    signature.verify_files(folder)
    if isinstance(signature, Signature):
        return _compare(folder, "", signature, None)
    comparisons = [
        comparison
        for kind, part in signature.parts.items()
        for comparison in _compare(folder, f"{kind}/", part, None)
    ]
    return comparisons + _compare_stages(folder, signature)


def _check_ranking(folder: Path, signature: Signature, dataset: Dataset) -> None:
    if signature.candidate is None:
        raise VerificationError("the artifact has no candidate inputs; export it again")
    check_inputs(folder, signature.query, ranking_query(dataset), dataset)
    check_inputs(folder, signature.candidate, dataset.items, dataset)


def _compare(
    folder: Path, inside: str, signature: Signature, candidates: NDArray[np.float32] | None
) -> list[Comparison]:
    name = f"{inside}{EXPECTED_FILE}"
    if name not in signature.files:
        raise VerificationError(f"signature.json in {folder} lists no {name}: export the run again")
    expected = read_expected(folder / inside)
    if signature.kind == "ranking":
        comparisons = compare_ranking(folder, signature, expected)
    else:
        comparisons = compare_retrieval(folder, signature, expected, candidates)
    check_worst(comparisons)
    return comparisons


def _compare_stages(folder: Path, signature: CombinedSignature) -> list[Comparison]:
    comparisons = list(compare_stages(folder, signature))
    check_worst(comparisons)
    return comparisons
