"""The layout's promises: what is packaged, what may import what, what is public."""

import ast
import configparser
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cli", "data", "export", "handlers", "models", "serving")

# Who may import whom; the table of CONTRIBUTING.md.
MAY_IMPORT = {
    "handlers": {"handlers"},
    "data": {"data", "handlers"},
    "models": {"models", "data", "handlers"},
    "export": {"export", "models", "data", "handlers"},
    "serving": {"serving", "handlers"},
    "cli": set(FOLDERS),
}
# Of handlers, models may use what describes features and no more.
MODELS_MAY_USE = {"torchtowers.handlers.encoders"}
# What a worker has; torch and onnxruntime only inside functions.
HANDLERS_MAY_USE = {*sys.stdlib_module_names, "numpy", "torchtowers"}

SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_to_the_table(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        assert name.split(".")[0] not in FOLDERS, f"{name}: import it as torchtowers.{name}"
        if name.startswith("torchtowers."):
            assert name.split(".")[1] in MAY_IMPORT[folder], f"{folder} may not import {name}"
        if folder == "models" and name.startswith("torchtowers.handlers"):
            assert name in MODELS_MAY_USE, f"models may not import {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "handlers").glob("*.py")), ids=lambda path: path.name)
def test_handlers_need_numpy_only(path: Path) -> None:
    for name in imports(path, top_level_only=True):
        assert name.split(".")[0] in HANDLERS_MAY_USE, f"{path.name} may import {name} inside a function only"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_the_table_that_people_read_is_the_one_tested(page: str) -> None:
    guide = (ROOT / page).read_text()
    for folder, allowed in MAY_IMPORT.items():
        (row,) = [line for line in guide.splitlines() if line.startswith(f"| `{folder}/` |")]
        named = {other for other in FOLDERS if f"`{other}`" in row.rsplit("|", 2)[1]} | {folder}
        if "all" in row.rsplit("|", 2)[1]:
            named = set(FOLDERS)
        assert named == allowed, row


def test_wheels_hold_every_folder_and_nothing_else() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    packages = setup["options"]["packages"].split()
    mapped = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    assert packages == sorted(f"torchtowers.{folder}" for folder in FOLDERS)
    assert mapped == {f"torchtowers.{folder}": folder for folder in FOLDERS}
    for folder in FOLDERS:
        nested = [
            path.parent for path in (ROOT / folder).rglob("__init__.py") if path.parent != ROOT / folder
        ]
        assert not nested, f"setup.cfg lists no package for {nested}"
        assert (ROOT / "typings" / "torchtowers" / folder).resolve() == ROOT / folder
        assert (ROOT / folder / "py.typed").exists()
        listed = setup["options.package_data"][f"torchtowers.{folder}"].split(", ")
        others = {
            path.name
            for path in (ROOT / folder).iterdir()
            if path.suffix != ".py" and path.name != "__pycache__"
        }
        assert others == set(listed)


@pytest.mark.parametrize("folder", FOLDERS)
def test_public_names_are_sorted_and_there(folder: str) -> None:
    package = importlib.import_module(f"torchtowers.{folder}")
    names = getattr(package, "__all__", [])
    # Constants, classes, functions: ruff's order of names that differ in case.
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in names:
        assert getattr(package, name).__doc__, f"torchtowers.{folder}.{name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if tree.body:
        docstring = ast.get_docstring(tree)
        assert docstring, f"{path} has no docstring"
        assert len(path.read_text().splitlines()) <= 350, "one idea a file"


def test_extras_are_not_needed_to_import_what_trains() -> None:
    code = "import json, sys, torchtowers.data, torchtowers.models; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "torchtowers.models.tuning" in loaded
    # matplotlib is not among them: torchmetrics loads it where it is installed.
    assert not loaded & {"faiss", "grpc", "onnx", "onnxruntime", "optuna", "torchserve"}
