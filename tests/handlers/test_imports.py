"""An archive answers with its runtime, numpy and the standard library: we import nothing else."""

import ast
import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import torchtowers.handlers
from torchtowers.handlers import encoders, vocabulary
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

HANDLERS = Path(torchtowers.handlers.__path__[0])
RUNTIME_LIBRARIES = {"onnx": "onnxruntime", "torchscript": "torch"}


def _imported() -> dict[str, set[str]]:
    """Collect the names that the project's modules and tests import from each module."""
    root = Path(__file__).parents[2]
    found: dict[str, set[str]] = {}
    for folder in ("cli", "data", "export", "handlers", "models", "serving", "tests"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    found.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    return found


IMPORTED = _imported()

# Stands for a worker whose environment has the runtime's library and numpy only.
WORKER = """
import json, sys
from types import SimpleNamespace

folder, name, body, *forbidden = sys.argv[1:]

class Refuse:
    def find_spec(self, name, path=None, target=None):
        first, second = (name + ".").split(".")[:2]
        if first in forbidden or (first == "torchtowers" and second not in ("", "handlers")):
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, folder)
module = __import__(name)
import torchtowers.handlers.base

assert torchtowers.handlers.base.__file__.startswith(folder), torchtowers.handlers.base.__file__
defined = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name]
(handler,) = (kind() for kind in defined)
context = SimpleNamespace(
    system_properties={"model_dir": folder, "gpu_id": None},
    model_yaml_config={},
    get_all_request_header=lambda position: {},
    set_response_content_type=lambda *arguments: None,
    set_response_status=lambda **arguments: None,
)
before = set(sys.modules)
assert not before & {"torch", "onnxruntime"}, "a runtime was imported before it was needed"
handler.initialize(context)
(answer,) = handler.handle([{"body": body}], context)
print(answer.decode())
"""


def answer_of(archive: Path, tmp_path: Path, runtime: str, name: str, body: dict[str, object]) -> Any:
    """Unpack an archive and answer with its own handler, in an interpreter with nothing else."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    forbidden = {"onnx", "polars", "pydantic", "safetensors", "yaml", "ts", *RUNTIME_LIBRARIES.values()}
    forbidden.remove(RUNTIME_LIBRARIES[runtime])
    ran = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            WORKER,
            str(tmp_path),
            name,
            json.dumps(body),
            *sorted(forbidden),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("runtime", RUNTIME_LIBRARIES)
def test_an_archive_runs_with_its_runtime_only(
    archives: Path, artifact: Path, tmp_path: Path, runtime: str
) -> None:
    body: dict[str, object] = {"user_id": "u3", "k": 7}
    answer = answer_of(archives / f"tiny-{runtime}.mar", tmp_path, runtime, "retrieval_handler", body)
    expected = Recommender.load(artifact, runtime=runtime).recommend(body)
    assert answer["items"] == expected["items"]
    assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-5)


@pytest.mark.parametrize("runtime", RUNTIME_LIBRARIES)
def test_so_does_one_of_a_ranking_model(
    ranking_archives: Path, ranking_artifact: Path, tmp_path: Path, runtime: str
) -> None:
    body: dict[str, object] = {"user_id": "u3", "candidates": ["100", "150", "what"]}
    archive = ranking_archives / f"ranking-{runtime}.mar"
    answer = answer_of(archive, tmp_path, runtime, "ranking_handler", body)
    expected = CandidateRanker.load(ranking_artifact, runtime=runtime).rank(body)
    assert answer["items"] == expected["items"]
    assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-5)


@pytest.mark.parametrize("runtime", RUNTIME_LIBRARIES)
def test_so_does_one_of_two_stages(
    combined_archives: Path, combined_artifact: Path, tmp_path: Path, runtime: str
) -> None:
    body: dict[str, object] = {"user_id": "u3", "hour": 7, "k": 7}
    answer = answer_of(
        combined_archives / f"both-{runtime}.mar", tmp_path, runtime, "recommendation_handler", body
    )
    expected = TwoStageRecommender.load(combined_artifact, runtime=runtime).recommend(body)
    assert answer["items"] == expected["items"]
    assert answer["scores"] == pytest.approx(expected["scores"], abs=1e-5)


@pytest.mark.parametrize("path", sorted(HANDLERS.glob("*.py")), ids=lambda path: path.stem)
def test_a_module_imports_the_standard_library_and_numpy(path: Path) -> None:
    allowed = {*sys.stdlib_module_names, "numpy"}
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in allowed or name.startswith("torchtowers.handlers"), name


def test_encoders_pass_on_what_models_may_import_and_no_more() -> None:
    passed_on = set(encoders.__all__) & set(vocabulary.__all__)
    assert passed_on == {"FIRST_TOKEN", "MISSING", "UNKNOWN", "Vocabulary"}


@pytest.mark.parametrize("path", sorted(HANDLERS.glob("*.py")), ids=lambda path: path.stem)
def test_a_public_name_is_imported_by_another_module(path: Path) -> None:
    module = importlib.import_module(f"torchtowers.handlers.{path.stem}")
    unused = set(getattr(module, "__all__", [])) - IMPORTED.get(module.__name__, set())
    assert path.stem == "__init__" or not unused


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("retrieval_handler.py", "RetrievalHandler"),
        ("ranking_handler.py", "RankingHandler"),
        ("recommendation_handler.py", "RecommendationHandler"),
    ],
)
def test_a_handlers_file_defines_one_class_and_no_function(file: str, name: str) -> None:
    tree = ast.parse((HANDLERS / file).read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == [name]
    assert not [node for node in tree.body if isinstance(node, ast.FunctionDef)]
