"""An archive answers with its runtime, numpy and the standard library: we import nothing else."""

import ast
import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import torchtowers.handlers
from torchtowers.handlers import encoders, vocabulary
from torchtowers.handlers.recommender import Recommender

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

folder, *forbidden = sys.argv[1:]

class Refuse:
    def find_spec(self, name, path=None, target=None):
        first, second = (name + ".").split(".")[:2]
        if first in forbidden or (first == "torchtowers" and second not in ("", "handlers")):
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, folder)
import retrieval_handler
import torchtowers.handlers.base

assert torchtowers.handlers.base.__file__.startswith(folder), torchtowers.handlers.base.__file__
defined = [v for v in vars(retrieval_handler).values()
           if isinstance(v, type) and v.__module__ == "retrieval_handler"]
(handler,) = (kind() for kind in defined)
context = SimpleNamespace(
    system_properties={"model_dir": folder, "gpu_id": None},
    model_yaml_config={},
    set_response_content_type=lambda *arguments: None,
    set_response_status=lambda **arguments: None,
)
before = set(sys.modules)
assert not before & {"torch", "onnxruntime"}, "a runtime was imported before it was needed"
handler.initialize(context)
(answer,) = handler.handle([{"body": {"user_id": "u3", "k": 7}}], context)
print(answer.decode())
"""


@pytest.mark.parametrize("runtime", RUNTIME_LIBRARIES)
def test_an_archive_runs_with_its_runtime_only(
    archives: Path, artifact: Path, tmp_path: Path, runtime: str
) -> None:
    with zipfile.ZipFile(archives / f"tiny-{runtime}.mar") as archive:
        archive.extractall(tmp_path)
    forbidden = {"onnx", "polars", "pydantic", "safetensors", "yaml", "ts", *RUNTIME_LIBRARIES.values()}
    forbidden.remove(RUNTIME_LIBRARIES[runtime])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORKER, str(tmp_path), *sorted(forbidden)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    expected = Recommender.load(artifact, runtime=runtime).recommend({"user_id": "u3", "k": 7})
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


def test_the_handlers_file_defines_one_class_and_imports_nothing_else() -> None:
    tree = ast.parse((HANDLERS / "retrieval_handler.py").read_text())
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["RetrievalHandler"]
    assert not [node for node in tree.body if isinstance(node, ast.FunctionDef)]
