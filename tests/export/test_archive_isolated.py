"""An archive in an interpreter without the toolkit, loaded by TorchServe's own loader."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torchtowers.handlers.encoders import UNKNOWN
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.experiment import Trained

pytest.importorskip("ts", reason="needs torchserve: pip install 'torchtowers[serve]'")

WORKER = Path(__file__).with_name("worker.py")
NOT_NEEDED = {"onnx": "torch", "torchscript": "onnxruntime"}

REQUESTS: list[Any] = [
    {"user_id": "u3", "k": 60},
    {"user_id": 3.5, "k": 5},
    {"instances": [{"user_id": "u7"}, {"user_id": "stranger", "age": 33}], "k": 60},
    {"user_id": "u1", "k": 5, "exclude_history": True, "fields": ["title"]},
]


def unpack(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder


def run(*command: str) -> Any:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=sorted(NOT_NEEDED))
def worker(request: pytest.FixtureRequest, archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a worker of each runtime reported; `runtime` and `folder` tell which it was."""
    runtime = request.param
    folder = unpack(archives / f"tiny-{runtime}.mar", tmp_path_factory.mktemp("worker") / "model")
    report = run(sys.executable, "-I", str(WORKER), str(folder), NOT_NEEDED[runtime], json.dumps(REQUESTS))
    return {**report, "runtime": runtime, "folder": folder}


def scores_of_the_trained_model(trained: Trained, features: dict[str, Any]) -> dict[str, float]:
    encoded = to_tensors({name: np.asarray([value]) for name, value in features.items()})
    query = trained.towers.eval().query_tower(encoded).detach().numpy()[0]
    scores = embed_candidates(trained.towers, trained.dataset) @ query
    return dict(zip(trained.dataset.items.tokens, scores.tolist(), strict=True))


def known(trained: Trained, token: str) -> dict[str, Any]:
    users = trained.dataset.users
    row = users.tokens.index(token)
    return {name: values[0] for name, values in users.take(np.array([row])).items()}


def assert_equals(answer: dict[str, Any], expected: dict[str, float]) -> None:
    assert set(answer["items"]) == set(expected)
    np.testing.assert_allclose(
        answer["scores"], [expected[item] for item in answer["items"]], rtol=0, atol=1e-5
    )
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


def test_torchserve_loader_loads_it_and_answers_with_the_trained_models_scores(
    trained: Trained, worker: Any
) -> None:
    response = worker["response"]
    assert (response["code"], response["message"]) == (200, "Prediction success")
    plain, bad, instances, titled = response["answers"]
    assert [answer["status"] for answer in (plain, instances, titled)] == [200, 200, 200]
    assert {answer["type"] for answer in response["answers"]} == {"application/json"}
    assert_equals(json.loads(plain["body"]), scores_of_the_trained_model(trained, known(trained, "u3")))

    first, second = json.loads(instances["body"])["predictions"]
    assert_equals(first, scores_of_the_trained_model(trained, known(trained, "u7")))
    stranger = {"user_id": UNKNOWN, "age": 3, "gender": 0, "history": [0]}  # 30 <= 33 < 50
    assert_equals(second, scores_of_the_trained_model(trained, stranger))

    # The bad one cost the others nothing.
    assert bad["status"] == 400
    assert bad["phrase"].isascii()
    error = json.loads(bad["body"])
    assert error["code"] == 400
    assert error["field"] == "user_id"
    assert "3.5" in error["message"]


def test_history_is_excluded_and_columns_are_given(trained: Trained, worker: Any) -> None:
    answer = json.loads(worker["response"]["answers"][3]["body"])
    table = trained.dataset.item_table
    titles = dict(zip(table["item_id"].to_list(), table["title"].to_list(), strict=True))
    assert answer["fields"]["title"] == [titles[item] for item in answer["items"]]
    history = trained.dataset.full_history
    assert history is not None
    seen = history[trained.dataset.users.tokens.index("u1")] - 2
    assert len(seen)
    assert not set(answer["items"]) & {trained.dataset.items.tokens[row] for row in seen}


def test_all_code_of_ours_comes_from_the_archive_and_none_of_it_is_model_code(worker: Any) -> None:
    assert worker["found"] == {"models": False, "export": False, "data": False}
    assert "torchtowers.handlers.recommender" in worker["ours"]
    for name, place in worker["ours"].items():
        assert name in ("retrieval_handler", "torchtowers") or name.startswith("torchtowers.handlers")
        if name != "torchtowers":  # a namespace has no file
            assert Path(place).is_relative_to(worker["folder"]), name


def test_worker_loads_its_own_runtime_only(worker: Any) -> None:
    loaded = {name.split(".")[0] for name in worker["new"]}
    assert not loaded & {"polars", "pydantic", "safetensors", "jinja2", "matplotlib", "onnx", "onnxscript"}
    # torch was hidden from the ONNX worker, and it answered all the same; TorchServe itself had imported it.
    assert ("onnxruntime" in loaded) == (worker["runtime"] == "onnx")


_EDGE = """
import json, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.path.insert(0, sys.argv[1])
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in repr(finder)]
sys.meta_path.insert(0, Missing())
from torchtowers.handlers.recommender import Recommender
answer = Recommender.load(sys.argv[1]).recommend({"user_id": "u3", "k": 60})
print(json.dumps({"answer": answer, "modules": sorted(sys.modules)}))
"""


def test_onnx_archive_answers_where_neither_torch_nor_torchserve_is_installed(
    trained: Trained, archives: Path, tmp_path: Path
) -> None:
    folder = unpack(archives / "tiny-onnx.mar", tmp_path / "model")
    missing = "torch,ts,onnx,onnxscript,yaml,polars,pydantic,safetensors,jinja2,matplotlib,psutil"
    report = run(sys.executable, "-I", "-c", _EDGE, str(folder), missing)
    assert_equals(report["answer"], scores_of_the_trained_model(trained, known(trained, "u3")))
    assert "onnxruntime" in report["modules"]
    assert not {name.split(".")[0] for name in report["modules"]} & set(missing.split(","))
