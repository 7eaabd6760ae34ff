"""Archives of every runtime and of fused files, of every kind of model; in one real TorchServe, too."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.export.test_pt2 import needs_compiler
from tests.servers import free_ports_config
from torchtowers.export.archive import build_archive
from torchtowers.export.artifact import export_artifact
from torchtowers.export.combined import combine_artifacts
from torchtowers.export.errors import ExportError
from torchtowers.export.formats import FORMATS
from torchtowers.export.inspection import inspect_archive
from torchtowers.export.lint import lint_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.verify import verify_archive
from torchtowers.models.experiment import Trained

pytestmark = needs_compiler

FORMATS_SCRIPT = Path(__file__).parents[1] / "benchmarks/formats.py"
RUNTIMES = ["torchscript", "onnx", "pt2"]
ARCHIVES = {
    "retrieval": [*RUNTIMES, "fused torchscript", "fused onnx"],
    "ranking": [*RUNTIMES, "fused torchscript", "fused onnx"],
    "both": RUNTIMES,
}


@pytest.fixture(scope="module")
def artifacts(
    trained: Trained, ranking_trained: Trained, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    folder = tmp_path_factory.mktemp("every-format")
    found = []
    for name, model in (("retrieval", trained), ("ranking", ranking_trained)):
        export_artifact(model, folder / name, tuple(FORMATS), fused=True)
        found.append(folder / name)
    combined = combine_artifacts(found[0], found[1], folder / "both", candidates=20)
    assert list(combined.runtimes) == RUNTIMES
    return [*found, folder / "both"]


def asked(artifacts: list[Path], *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, FORMATS_SCRIPT, *artifacts, "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def assert_alike(rows: list[dict[str, Any]], requests: int) -> None:
    assert [(row["artifact"], row["archive"]) for row in rows] == [
        (artifact, archive) for artifact, archives in ARCHIVES.items() for archive in archives
    ]
    assert {row["requests"] for row in rows} == {str(requests)}
    assert all(float(row["largest difference"]) <= 1e-5 for row in rows)


@pytest.mark.parametrize(
    ("position", "files"),
    [(0, ["query.pt2"]), (1, ["ranker.pt2"]), (2, ["query.pt2", "ranker.pt2"])],
    ids=["retrieval", "ranking", "both"],
)
def test_an_archive_of_packages_of_aotinductor(
    artifacts: list[Path], tmp_path: Path, position: int, files: list[str]
) -> None:
    path = build_archive(artifacts[position], name="m", export_path=tmp_path, runtime="pt2")
    assert lint_archive(path) == verify_archive(path) == []
    content = inspect_archive(path)
    assert content["model"]["serializedFile"] == files[0]
    assert sorted(name for name in content["members"] if name.endswith((".pt2", ".pt", ".onnx"))) == files
    assert {"numpy", "torch"} <= set(content["packages"])
    with pytest.raises(ExportError, match=rf"device: {files[0]} runs on the CPU"):
        build_archive(
            artifacts[position],
            name="n",
            export_path=tmp_path,
            runtime="pt2",
            config=ServingConfig(device="gpu"),
        )


@pytest.mark.java
def test_all_served_archives_answer_random_requests_alike(artifacts: list[Path], tmp_path: Path) -> None:
    config = free_ports_config(tmp_path)
    assert_alike(asked(artifacts, "--served", "--requests", "20", "--config", str(config)), 20)


@pytest.mark.java
@pytest.mark.slow
@pytest.mark.parametrize("served", [False, True], ids=["unpacked", "served"])
def test_a_thousand_random_requests(artifacts: list[Path], tmp_path: Path, served: bool) -> None:
    options = ["--served", "--config", str(free_ports_config(tmp_path))] if served else []
    assert_alike(asked(artifacts, "--requests", "1000", *options), 1000)
