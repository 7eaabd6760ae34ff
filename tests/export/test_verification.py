import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from torchtowers.export import verification
from torchtowers.export.comparison import BATCH_SIZES, TOLERANCE
from torchtowers.export.errors import VerificationError
from torchtowers.export.verification import verify
from torchtowers.handlers.encoders import MISSING, UNKNOWN
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.signature import Signature, sha256_of
from torchtowers.handlers.strings import StringTable
from torchtowers.models.experiment import Trained

Change = Callable[[Path], None]


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "copy"))


def index_of(folder: Path) -> IndexSpec:
    index = Signature.read(folder).index
    assert index is not None
    return index


def sign_again(folder: Path) -> None:
    """Make the sha256 fit the altered files, so that only a comparison of values can tell."""
    signature = Signature.read(folder)
    replace(signature, files={name: sha256_of(folder / name) for name in signature.files}).write(folder)


def add_to_torchscript(folder: Path, side: str, parameter: str, row: int | None, amount: float) -> None:
    module: nn.Module = torch.jit.load(str(folder / f"{side}.pt"))  # type: ignore[no-untyped-call]
    values = dict(module.named_parameters())[parameter]
    with torch.no_grad():
        (values if row is None else values[row]).add_(amount)
    torch.jit.save(module, str(folder / f"{side}.pt"))


def add_to_onnx(folder: Path, side: str, parameter: str, row: int | None, amount: float) -> None:
    model = onnx.load(folder / f"{side}.onnx")
    (tensor,) = [found for found in model.graph.initializer if found.name.endswith(parameter)]
    values = numpy_helper.to_array(tensor).copy()
    values[slice(None) if row is None else row] += amount
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save_model(model, folder / f"{side}.onnx")


def test_good_artifact_is_compared_in_full(trained: Trained, artifact: Path) -> None:
    comparisons = verify(artifact, trained)
    assert len(comparisons) == 2 * 3 * len(BATCH_SIZES)
    assert all(0 <= comparison.difference <= TOLERANCE for comparison in comparisons)


@pytest.mark.parametrize("add", [add_to_torchscript, add_to_onnx])
@pytest.mark.parametrize(
    ("side", "parameter", "row"),
    [
        ("query", "tower.tables.feature_history.table.weight", None),
        ("query", "tower.tables.feature_user_id.table.weight", UNKNOWN),
        ("query", "tower.tables.feature_gender.table.weight", MISSING),
        ("query", "tower.tables.feature_age.table.weight", 1),
        ("candidate", "tower.tables.feature_item_id.table.weight", UNKNOWN),
        ("candidate", "tower.tables.feature_genres.table.weight", 3),
        ("candidate", "bias.table.weight", UNKNOWN),
    ],
)
def test_changed_weight_is_noticed_also_where_only_unknown_or_missing_values_use_it(
    trained: Trained,
    copy: Path,
    add: Callable[[Path, str, str, int | None, float], None],
    side: str,
    parameter: str,
    row: int | None,
) -> None:
    add(copy, side, parameter, row, 0.01)
    sign_again(copy)
    runtime = "torchscript" if add is add_to_torchscript else "onnx"
    with pytest.raises(VerificationError, match=rf"the {runtime} .* differ .* at batch size \d+") as caught:
        verify(copy, trained)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("amount", [1e-7, 1e-3])
def test_only_a_difference_above_the_tolerance_is_refused(
    trained: Trained, copy: Path, amount: float
) -> None:
    add_to_torchscript(copy, "candidate", "bias.table.weight", None, amount)
    sign_again(copy)
    if amount < TOLERANCE:
        verify(copy, trained)
    else:
        with pytest.raises(VerificationError, match=r"the torchscript candidate differ .* by 0\.001 "):
            verify(copy, trained)


def test_nan_is_no_agreement(trained: Trained, copy: Path) -> None:
    add_to_torchscript(copy, "query", "tower.tables.feature_gender.table.weight", MISSING, float("nan"))
    sign_again(copy)
    with pytest.raises(VerificationError, match="by inf"):
        verify(copy, trained)


def swap_strings(folder: Path, stem: str) -> None:
    table = StringTable.load(folder, stem)
    strings = [table[row] for row in range(len(table))]
    strings[3], strings[4] = strings[4], strings[3]
    StringTable.of(strings).save(folder, stem)


def swap_ids(folder: Path) -> None:
    swap_strings(folder, index_of(folder).ids)


def swap_embeddings(folder: Path) -> None:
    path = folder / index_of(folder).embeddings
    embeddings = np.load(path)
    embeddings[[3, 4]] = embeddings[[4, 3]]
    np.save(path, embeddings)


@pytest.mark.parametrize("change", [swap_ids, swap_embeddings])
def test_recommendations_alone_tell_swapped_candidates(
    trained: Trained, copy: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(copy)
    sign_again(copy)
    monkeypatch.setattr(verification, "check_stored", lambda *_: None)
    with pytest.raises(VerificationError, match=r"the (onnx|torchscript) recommendations differ"):
        verify(copy, trained)


def test_swapped_tower_files_are_noticed(trained: Trained, copy: Path) -> None:
    """The towers of a run take different features, so a runtime refuses rather than answers wrongly."""
    query, candidate = (copy / f"{side}.onnx" for side in ("query", "candidate"))
    query.rename(copy / "other")
    candidate.rename(query)
    (copy / "other").rename(candidate)
    sign_again(copy)
    with pytest.raises(Exception, match="input"):
        verify(copy, trained)
