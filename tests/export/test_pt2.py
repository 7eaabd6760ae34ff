"""Packages of AOTInductor, where there is a compiler."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.export.towers import embed, inputs_of
from torchtowers.export.errors import ExportError
from torchtowers.export.pt2 import export_pt2
from torchtowers.handlers.encoders import Encoder, TokenEncoder, TokenListEncoder, VectorEncoder
from torchtowers.handlers.errors import ArtifactError, RuntimeUnavailableError
from torchtowers.handlers.execution import Execution
from torchtowers.handlers.runtime import load_tower
from torchtowers.handlers.vocabulary import Vocabulary
from torchtowers.models.two_tower import build_tower

VOCABULARY = Vocabulary(["a", "b", "c"])
ENCODERS: dict[str, Encoder] = {
    "größe": TokenEncoder(VOCABULARY),
    "my-genres": TokenListEncoder(VOCABULARY, 4),
}

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="needs a C++ compiler"
)


@pytest.fixture(scope="module")
def tower() -> nn.Module:
    torch.manual_seed(0)
    return build_tower(ENCODERS, key="größe", embedding_dim=3, hidden=[4], dim=2).eval()


@pytest.fixture(scope="module")
def package(tower: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "tower.pt2"
    export_pt2(tower, ENCODERS, path)
    return path


@needs_compiler
def test_equals_the_eager_tower_at_any_batch_length_and_order(tower: nn.Module, package: Path) -> None:
    exported = load_tower("pt2", package)
    for batch in (1, 2, 7, 64, 1024):
        for length in (1, 5):
            inputs = inputs_of(ENCODERS, batch, length)
            turned = dict(reversed(inputs.items()))
            np.testing.assert_allclose(exported(turned), embed(tower, inputs), rtol=0, atol=1e-5)


@needs_compiler
def test_holds_no_sources(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".cpp")]


@needs_compiler
def test_runs_on_the_cpu_only(package: Path) -> None:
    with pytest.raises(
        RuntimeUnavailableError, match="given GPU 0, but a pt2 package is compiled for the CPU"
    ):
        load_tower("pt2", package, Execution(gpu_id=0))


def test_refuses_a_file_that_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "tower.pt2").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"tower\.pt2 can't be loaded as an AOTInductor package"):
        load_tower("pt2", tmp_path / "tower.pt2")


def test_says_where_there_is_no_compiler(
    tower: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ExportError, match=r"needs a C\+\+ compiler, and there is no no-such-compiler here"):
        export_pt2(tower, ENCODERS, tmp_path / "tower.pt2")
    assert not list(tmp_path.iterdir())


def test_tower_in_training_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"eval\(\)"):
        export_pt2(torch.nn.Dropout(0.5).train(), {"a": VectorEncoder(2)}, tmp_path / "tower.pt2")
