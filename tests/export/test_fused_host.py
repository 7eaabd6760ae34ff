"""A fused TorchScript file in a C++ program without Python: the same ids and scores."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.handlers.served import fused_served
from torchtowers.handlers.fused import fused_inputs
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.request import Row

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

CPP = Path(__file__).parents[2] / "examples/cpp"
ROWS = [
    Row({"user_id": "u3"}, k=5),
    Row({"user_id": "u3"}, k=60, exclude=("100", "101"), exclude_history=True),
    Row({"user_id": "stranger", "age": 33.5, "gender": "F", "history": ["100", "what", "150"]}, k=10),
    Row({"user_id": "ü", "age": None, "history": []}, k=1),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled as the example says, with the libtorch of the installed torch."""
    path = tmp_path_factory.mktemp("cpp") / "recommend"
    subprocess.run([CPP / "build", path], check=True)
    return path


def arguments_of(search: FusedSearch, row: Row) -> Iterator[str]:
    """Write a row's inputs as the program takes them."""
    for name, values in fused_inputs(search.encoder, [row]).items():
        if values.dtype == object and values.ndim == 1:
            yield f"{name}={values[0]}"
        elif values.dtype == object:
            yield f"{name}[]={','.join(values[0])}"
        elif values.dtype == bool:
            yield f"{name}?={int(values[0])}"
        else:
            assert values.dtype == np.float64
            yield f"{name}#={values.tolist()[0]!r}"
    yield f"exclude[]={','.join(map(str, row.exclude))}"
    yield f"exclude_history?={int(row.exclude_history)}"


def test_a_program_without_python_gives_the_same_items_and_scores(
    program: Path, fused_artifact: Path
) -> None:
    search = FusedSearch.load(fused_artifact, fused_served(fused_artifact, "torchscript"))
    names = search.ids.json_values("ids")
    for row in ROWS:
        file = str(fused_artifact / "fused.pt")
        command = [str(program), file, str(row.k), *arguments_of(search, row)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        ((items, scores),) = search.search([search.encoder.encode(row)])
        assert len(items)
        assert [name for name, _ in lines] == [names[item] for item in items]
        np.testing.assert_allclose([float(score) for _, score in lines], scores, rtol=0, atol=1e-6)


def test_the_program_says_what_is_wrong(program: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ([], "expected FILE K NAME=VALUE"),
        ([str(tmp_path / "gone.pt"), "3", "user_id=1"], "gone.pt"),
    ):
        done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
