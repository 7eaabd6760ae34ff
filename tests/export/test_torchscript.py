import errno
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.towers import SIDES, embed, inputs_of, side_of
from torchtowers.export.errors import ExportError
from torchtowers.export.torchscript import export_torchscript
from torchtowers.handlers.encoders import Encoder, TokenEncoder
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.vocabulary import Vocabulary
from torchtowers.models.experiment import Trained
from torchtowers.models.two_tower import build_tower


@pytest.mark.parametrize("side", SIDES)
def test_scripted_tower_equals_the_eager_one_at_any_batch_and_length(
    trained: Trained, side: str, tmp_path: Path
) -> None:
    tower, table = side_of(trained, side)
    export_torchscript(tower, tmp_path / "tower.pt")
    exported = load_tower("torchscript", tmp_path / "tower.pt")
    for batch, length in ((1, 1), (2, 3), (7, 12), (64, 1), (3, 40)):
        inputs = inputs_of(dict(table.encoders), batch, length)
        np.testing.assert_allclose(exported(inputs), embed(tower, inputs), rtol=0, atol=1e-6)


def test_file_needs_no_code_of_ours_and_holds_no_source_places(trained: Trained, tmp_path: Path) -> None:
    tower, _ = side_of(trained, "query")
    plain = tmp_path / "plain.pt"
    torch.jit.save(torch.jit.script(tower), str(plain))
    with zipfile.ZipFile(plain) as archive:
        records = [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        places = b"".join(archive.read(name) for name in records)
    assert str(Path(__file__).parents[2]).encode() in places  # what torch would have given away

    export_torchscript(tower, tmp_path / "tower.pt")
    with zipfile.ZipFile(tmp_path / "tower.pt") as archive:
        assert not [name for name in archive.namelist() if name.endswith(".debug_pkl")]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        everything = b"".join(archive.read(name) for name in archive.namelist())
    for place in (Path(__file__).parents[2], tmp_path, Path(torch.__file__).parent):
        assert str(place).encode() not in everything


SCRIPT = """
import sys, torch
from pathlib import Path
from torchtowers.export.torchscript import export_torchscript
from torchtowers.models import MLP

torch.manual_seed(1)
export_torchscript(MLP(4, [8, 2], dropout=0.5).eval(), Path(sys.argv[1]))
"""


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    written = set()
    for seed in ("1", "2", "3"):
        path = tmp_path / f"{seed}.pt"
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", SCRIPT, path], env=environment, check=True, timeout=120)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_no_other_file_is_left_beside(trained: Trained, tmp_path: Path) -> None:
    export_torchscript(side_of(trained, "candidate")[0], tmp_path / "candidate.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["candidate.pt"]


def test_tower_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"eval\(\)"):
        export_torchscript(torch.nn.Dropout(0.5).train(), tmp_path / "tower.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["my-genres", "the gender", "größe"])
def test_feature_works_under_its_name_or_is_refused_with_it(name: str, tmp_path: Path) -> None:
    encoders: dict[str, Encoder] = {name: TokenEncoder(Vocabulary(["a", "b"]))}
    tower = build_tower(encoders, key=name, embedding_dim=3, hidden=[], dim=2).eval()
    if not name.isascii():
        with pytest.raises(ExportError, match=r"can't load a feature called 'größe'.*--format onnx"):
            export_torchscript(tower, tmp_path / "tower.pt")
        return
    export_torchscript(tower, tmp_path / "tower.pt")
    inputs = inputs_of(encoders, 3, 1)
    np.testing.assert_array_equal(
        load_tower("torchscript", tmp_path / "tower.pt")(inputs), embed(tower, inputs)
    )


def test_full_disk_is_an_error_of_the_system_with_its_reason(trained: Trained) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        export_torchscript(side_of(trained, "query")[0], Path("/dev/full"))
    assert caught.value.errno == errno.ENOSPC
