"""Fixtures for all tests: small models, exported once for all processes of a run."""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.servers import MODELS
from tests.tiny import tiny_ranking_trained, tiny_trained
from torchtowers.export.archive import build_archive
from torchtowers.export.artifact import export_artifact
from torchtowers.export.combined import combine_artifacts
from torchtowers.models.experiment import Trained

# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that; tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# As `nohup` does with the end of a terminal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# The models of the tests are so small that a second thread costs more than it brings.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, and leave the long forms out unless they are asked for."""
    # Else a process that begins one at the end leaves the others idle.
    long = {item.path for item in items if any(map(item.get_closest_marker, ("java", "slow")))}
    items.sort(key=lambda item: item.path not in long)
    if os.environ.get("TORCHTOWERS_ALL_TESTS") != "1":
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="long form: scripts/test --all"))


def store_of(artifact: Path, name: str, store: Path) -> Path:
    """Build an archive for each runtime, `NAME-onnx.mar` and `NAME-torchscript.mar`, and give the store."""
    for runtime in ("onnx", "torchscript"):
        build_archive(artifact, name=f"{name}-{runtime}", export_path=store, runtime=runtime)
    return store


BuiltOnce = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> BuiltOnce:
    """Build a folder by its name, where no other process of this run has."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def once(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = root / "shared" / name, root / "shared" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with (root / "shared" / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                build(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained model; not to be changed."""
    return tiny_trained(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def artifact(built_once: BuiltOnce, request: pytest.FixtureRequest) -> Path:
    """Its artifact, in both formats; not to be changed."""
    return built_once("tiny", lambda out: export_artifact(request.getfixturevalue("trained"), out))


@pytest.fixture(scope="session")
def archives(artifact: Path, built_once: BuiltOnce) -> Path:
    """A model store with `tiny-onnx.mar` and `tiny-torchscript.mar`; not to be changed."""
    return built_once("store", lambda store: store_of(artifact, "tiny", store))


@pytest.fixture(scope="session")
def ranking_trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trained ranking model; not to be changed."""
    return tiny_ranking_trained(tmp_path_factory.mktemp("runs") / "ranking")


@pytest.fixture(scope="session")
def ranking_artifact(built_once: BuiltOnce, request: pytest.FixtureRequest) -> Path:
    """Its artifact, in both formats; not to be changed."""
    return built_once("ranking", lambda out: export_artifact(request.getfixturevalue("ranking_trained"), out))


@pytest.fixture(scope="session")
def ranking_archives(ranking_artifact: Path, built_once: BuiltOnce) -> Path:
    """A model store with `ranking-onnx.mar` and `ranking-torchscript.mar`; not to be changed."""
    return built_once("ranking-store", lambda store: store_of(ranking_artifact, "ranking", store))


@pytest.fixture(scope="session")
def combined_artifact(artifact: Path, ranking_artifact: Path, built_once: BuiltOnce) -> Path:
    """Both models in one artifact, of which 20 items are ranked; not to be changed."""
    return built_once(
        "combined", lambda out: combine_artifacts(artifact, ranking_artifact, out, candidates=20)
    )


@pytest.fixture(scope="session")
def combined_archives(combined_artifact: Path, built_once: BuiltOnce) -> Path:
    """A model store with `both-onnx.mar` and `both-torchscript.mar`; not to be changed."""
    return built_once("combined-store", lambda store: store_of(combined_artifact, "both", store))


@pytest.fixture(scope="session")
def mixed_archives(
    archives: Path, ranking_archives: Path, combined_archives: Path, built_once: BuiltOnce
) -> Path:
    """A model store with the archives of `MODELS`, one of each kind; not to be changed."""

    def build(store: Path) -> None:
        store.mkdir()
        for own, name in zip((archives, ranking_archives, combined_archives), MODELS, strict=True):
            shutil.copy(own / f"{name}.mar", store)

    return built_once("mixed-store", build)


@pytest.fixture(scope="session")
def fused_artifact(built_once: BuiltOnce, request: pytest.FixtureRequest) -> Path:
    """The artifact with fused files; not to be changed."""
    return built_once(
        "fused", lambda out: export_artifact(request.getfixturevalue("trained"), out, fused=True)
    )


@pytest.fixture(scope="session")
def fused_ranking_artifact(built_once: BuiltOnce, request: pytest.FixtureRequest) -> Path:
    """The ranking model's artifact with fused files; not to be changed."""
    return built_once(
        "fused-ranking",
        lambda out: export_artifact(request.getfixturevalue("ranking_trained"), out, fused=True),
    )
