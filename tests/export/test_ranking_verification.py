"""What verification of a ranking artifact notices."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.test_verification import sign_again
from torchtowers.export import verification
from torchtowers.export.comparison import BATCH_SIZES, TOLERANCE
from torchtowers.export.errors import VerificationError
from torchtowers.export.verification import verify
from torchtowers.models.experiment import Trained

Change = Callable[[Path], None]


@pytest.fixture
def copy(ranking_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ranking_artifact, tmp_path / "copy"))


def test_good_artifact_is_compared_in_full(ranking_trained: Trained, ranking_artifact: Path) -> None:
    comparisons = verify(ranking_artifact, ranking_trained)
    assert [(c.runtime, c.compared, c.batch) for c in comparisons] == [
        (runtime, compared, batch)
        for runtime in ("torchscript", "onnx")
        for compared in ("scores", "answers")
        for batch in BATCH_SIZES
    ]
    assert all(0 <= comparison.difference <= TOLERANCE for comparison in comparisons)


@pytest.mark.parametrize("amount", [1e-7, 1e-3, float("nan")])
def test_only_a_difference_above_the_tolerance_is_refused(
    ranking_trained: Trained, copy: Path, amount: float
) -> None:
    module = torch.jit.load(str(copy / "ranker.pt"))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        dict(module.named_buffers())["offset"].add_(amount)
    torch.jit.save(module, str(copy / "ranker.pt"))
    sign_again(copy)
    if amount < TOLERANCE:
        verify(copy, ranking_trained)
    else:
        with pytest.raises(VerificationError, match=r"the torchscript scores differ .* by (0\.00\d+|inf) "):
            verify(copy, ranking_trained)


def change_lookup(folder: Path, name: str) -> None:
    path = folder / f"lookup/{name}.values.npy"
    values = np.load(path)
    values[7] = 1 + (values[7] == 1)
    np.save(path, values)


@pytest.mark.parametrize(
    ("name", "message"),
    [("age", "the age of known users"), ("year", "the year of known items")],
)
def test_a_changed_value_of_a_known_entity_is_noticed(
    ranking_trained: Trained, copy: Path, name: str, message: str
) -> None:
    change_lookup(copy, name)
    sign_again(copy)
    with pytest.raises(VerificationError, match=message):
        verify(copy, ranking_trained)


def test_answers_alone_tell_a_changed_value(
    ranking_trained: Trained, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_all = np.load(copy / "lookup/year.values.npy")
    np.save(copy / "lookup/year.values.npy", np.where(change_all == 1, 2, 1))
    sign_again(copy)
    monkeypatch.setattr(verification, "check_inputs", lambda *_: None)
    with pytest.raises(VerificationError, match="answers differ"):
        verify(copy, ranking_trained)
