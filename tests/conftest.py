"""Fixtures for all tests: one small model, trained and exported once a session."""

import os
import signal
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_ranking_trained, tiny_trained
from torchtowers.export.archive import build_archive
from torchtowers.export.artifact import export_artifact
from torchtowers.export.combined import combine_artifacts
from torchtowers.models.experiment import Trained

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The models of the tests are so small that a second thread costs more than it brings.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the long forms out unless they are asked for."""
    if os.environ.get("TORCHTOWERS_ALL_TESTS") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="long form: scripts/test --all"))


def store_of(artifact: Path, name: str, store: Path) -> Path:
    """Build an archive for each runtime, `NAME-onnx.mar` and `NAME-torchscript.mar`, and give the store."""
    for runtime in ("onnx", "torchscript"):
        build_archive(artifact, name=f"{name}-{runtime}", export_path=store, runtime=runtime)
    return store


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained model; not to be changed."""
    return tiny_trained(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def artifact(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artifact, in both formats; not to be changed."""
    out = tmp_path_factory.mktemp("artifacts") / "tiny"
    export_artifact(trained, out)
    return out


@pytest.fixture(scope="session")
def archives(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with `tiny-onnx.mar` and `tiny-torchscript.mar`; not to be changed."""
    return store_of(artifact, "tiny", tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def ranking_trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained ranking model; not to be changed."""
    return tiny_ranking_trained(tmp_path_factory.mktemp("runs") / "ranking")


@pytest.fixture(scope="session")
def ranking_artifact(ranking_trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artifact, in both formats; not to be changed."""
    out = tmp_path_factory.mktemp("artifacts") / "ranking"
    export_artifact(ranking_trained, out)
    return out


@pytest.fixture(scope="session")
def ranking_archives(ranking_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with `ranking-onnx.mar` and `ranking-torchscript.mar`; not to be changed."""
    return store_of(ranking_artifact, "ranking", tmp_path_factory.mktemp("ranking-store"))


@pytest.fixture(scope="session")
def combined_artifact(
    artifact: Path, ranking_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Both models in one artifact, of which 20 items are ranked; not to be changed."""
    out = tmp_path_factory.mktemp("artifacts") / "combined"
    combine_artifacts(artifact, ranking_artifact, out, candidates=20)
    return out


@pytest.fixture(scope="session")
def combined_archives(combined_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with `both-onnx.mar` and `both-torchscript.mar`; not to be changed."""
    return store_of(combined_artifact, "both", tmp_path_factory.mktemp("combined-store"))


@pytest.fixture(scope="session")
def fused_artifact(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact with fused files; not to be changed."""
    out = tmp_path_factory.mktemp("artifacts") / "fused"
    export_artifact(trained, out, fused=True)
    return out


@pytest.fixture(scope="session")
def fused_ranking_artifact(ranking_trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ranking model's artifact with fused files; not to be changed."""
    out = tmp_path_factory.mktemp("artifacts") / "fused-ranking"
    export_artifact(ranking_trained, out, fused=True)
    return out
