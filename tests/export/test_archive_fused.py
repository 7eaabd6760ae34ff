"""Archives in which a fused file answers alone: the same requests get the same answers and errors."""

import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.export.archives import contents_of, unpacked
from tests.export.test_archive_isolated import WORKER, run
from tests.export.test_model_archiver import packaged
from tests.handlers.served import runtime_of
from tests.handlers.small import examples, json_values
from torchtowers.cli.main import main
from torchtowers.export.archive import build_archive
from torchtowers.export.comparison import TOLERANCE
from torchtowers.export.errors import ExportError
from torchtowers.export.inspection import difference, inspect_archive
from torchtowers.export.lint import lint_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.verify import verify_archive
from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.ranking_handler import RankingHandler
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.retrieval_handler import RetrievalHandler
from torchtowers.handlers.signature import Signature, sha256_of

FILES = {"onnx": "fused.onnx", "torchscript": "fused.pt"}
SETTINGS = {"threads": 1, "max_k": 40, "max_rows": 4, "max_exclude": 5, "max_candidates": 6}

REQUESTS: list[Any] = [
    {"user_id": "u3", "k": 40},
    {"user_id": "u3", "k": 7, "exclude": ["100", 101, "what"], "exclude_history": True},
    {"user_id": "stranger", "age": 33, "gender": None, "history": ["100", "103", "what"]},
    {"user_id": 5, "parameters": {"k": 2, "fields": ["title", "year"]}},
    {"instances": [{"user_id": "u7"}, {"user_id": "u8", "k": 2, "age": 10**400}], "k": 3},
    {"user_id": "\ud800", "history": ["\udfff", "100"], "exclude": ["\ud800"]},
    {},
    {"user_id": None},
    {"user_id": 3.5},
    {"user_id": "u3", "age": "old"},
    {"user_id": "u3", "history": ["100", ["101"]]},
    {"user_id": "u3", "k": 41},
    {"user_id": "u3", "exclude": ["100"] * 6},
    {"user_id": "u3", "exclude_history": 1},
    {"user_id": "u3", "fields": ["genre"]},
    {"user_id": "u3", "colour": "red"},
    {"instances": [{"user_id": "u3"}] * 5},
    {"instances": []},
    [],
]
RANKING_REQUESTS: list[Any] = [
    {"user_id": "u3", "candidates": ["100", "what", 101, {"item_id": "102"}, "100"], "hour": 7},
    {"user_id": "new", "age": 20, "candidates": ["100", "101", "102"], "k": 2},
    {
        "instances": [{"user_id": "u1"}, {"user_id": "u2", "candidates": ["150"]}],
        "candidates": ["100", "101"],
    },
    {"user_id": "\ud800", "candidates": ["\ud800", "100"]},
    {"user_id": "u3"},
    {"user_id": "u3", "candidates": []},
    {"user_id": "u3", "candidates": [""]},
    {"user_id": "u3", "candidates": ["100"] * 7},
    {"user_id": "u3", "candidates": ["100"], "k": 2},
    {"user_id": "u3", "candidates": ["100"], "hour": "noon"},
    {"user_id": "u3", "candidates": [{}]},
]


class _Context:
    def __init__(self, folder: Path) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None}
        self.model_yaml_config = {"torchtowers": SETTINGS}
        self.statuses: dict[int, int] = {}

    def get_all_request_header(self, position: int) -> dict[str, Any]:
        return {}

    def set_response_content_type(self, position: int, value: str) -> None:
        assert value == "application/json"

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.statuses[idx] = code


def asked(handler: BaseHandler, folder: Path, requests: list[Any]) -> list[tuple[int, Any]]:
    """Ask all at once, as one batch."""
    context = _Context(folder)
    if handler.model is None:
        handler.initialize(context)
    answers = handler.handle([{"body": request} for request in requests], context)
    return [(context.statuses.get(place, 200), json.loads(answer)) for place, answer in enumerate(answers)]


def assert_alike(got: Any, expected: Any) -> None:
    """Compare answers: scores up to the tolerance, all else wholly."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            if key == "scores":
                np.testing.assert_allclose(got[key], value, atol=TOLERANCE)
            else:
                assert_alike(got[key], value)
    elif isinstance(expected, list):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_alike(one, other)
    else:
        assert got == expected


@pytest.fixture(scope="module")
def store(
    fused_artifact: Path, fused_ranking_artifact: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Directories `KIND`, `KIND-onnx` and `KIND-torchscript`, the last two of fused files."""
    store = tmp_path_factory.mktemp("fused-store")
    for kind, artifact in (("retrieval", fused_artifact), ("ranking", fused_ranking_artifact)):
        build_archive(artifact, name=kind, export_path=store, archive_format="no-archive")
        for runtime in FILES:
            build_archive(
                artifact,
                name=f"{kind}-{runtime}",
                export_path=store,
                runtime=runtime,
                fused=True,
                archive_format="no-archive",
            )
    return store


COLUMNS = {f"{folder}/{name}" for folder in ("columns", "filters") for name in ("genres", "title", "year")}


@pytest.mark.parametrize("runtime", FILES)
@pytest.mark.parametrize(
    ("kind", "beside"),
    [("retrieval", {*COLUMNS, "index/ids"}), ("ranking", set())],
)
def test_it_holds_the_fused_file_and_nothing_that_is_inside_of_it(
    store: Path, fused_artifact: Path, runtime: str, kind: str, beside: set[str]
) -> None:
    folder = store / f"{kind}-{runtime}"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    stems = {name.split(".")[0] for name in names if name.endswith(".npy")}
    assert stems == beside
    made = {"MAR-INF/MANIFEST.json", "signature.json", "model-config.yaml", "bill-of-materials.cdx.json"}
    others = {name for name in names - made if not name.endswith((".npy", ".py"))}
    assert others == {FILES[runtime], "samples.json"}
    model = json.loads((folder / "MAR-INF/MANIFEST.json").read_text())["model"]
    assert (model["serializedFile"], model["handler"]) == (FILES[runtime], f"{kind}_handler.py")


@pytest.mark.parametrize("runtime", FILES)
@pytest.mark.parametrize(
    ("kind", "handler", "requests"),
    [("retrieval", RetrievalHandler, REQUESTS), ("ranking", RankingHandler, RANKING_REQUESTS)],
)
def test_the_same_requests_get_the_same_answers_and_errors(
    store: Path, runtime: str, kind: str, handler: type[BaseHandler], requests: list[Any]
) -> None:
    expected = asked(handler(), store / kind, requests)
    assert {code for code, _ in expected} == {200, 400}
    got = asked(handler(), store / f"{kind}-{runtime}", requests)
    for (code, answer), (expected_code, expected_answer) in zip(got, expected, strict=True):
        assert code == expected_code
        assert_alike(answer, expected_answer)


@pytest.mark.parametrize("runtime", FILES)
def test_any_body_gets_the_same_answer_or_error(store: Path, runtime: str) -> None:
    handlers = [(RetrievalHandler(), store / name) for name in ("retrieval", f"retrieval-{runtime}")]
    users = st.sampled_from(["u1", "u2", "new", 7])
    fields = ("age", "gender", "history", "k", "exclude", "exclude_history", "fields")
    rows = st.fixed_dictionaries(
        {"user_id": users | json_values}, optional=dict.fromkeys(fields, json_values)
    )

    @examples(40)
    @given(bodies=st.lists(rows, min_size=1, max_size=4))
    def check(bodies: list[Any]) -> None:
        tower, fused = (asked(handler, folder, bodies) for handler, folder in handlers)
        assert_alike([answer for _, answer in fused], [answer for _, answer in tower])

    check()


@pytest.mark.parametrize("runtime", FILES)
def test_a_candidate_is_known_by_its_id_alone(store: Path, runtime: str) -> None:
    body = {"user_id": "u3", "candidates": ["100", {"item_id": "101", "year": 1990}]}
    (code, error), *_ = asked(RankingHandler(), store / f"ranking-{runtime}", [body])
    assert code == 400
    assert error["message"] == "candidates[1].year: expected a known field (item_id), got 1990"


@pytest.mark.parametrize("kind", ["retrieval", "ranking"])
@pytest.mark.parametrize("runtime", FILES)
def test_it_is_linted_verified_shown_and_compared(
    store: Path, kind: str, runtime: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store / f"{kind}-{runtime}"
    assert lint_archive(folder) == []
    assert verify_archive(folder) == []
    content = inspect_archive(folder)
    assert (content["towers"], content["fused"]) == ({}, {runtime: FILES[runtime]})
    assert {"onnx": "onnxruntime", "torchscript": "torch"}[runtime] in content["packages"]
    assert "age" in content["features"]["query"]
    found = difference(inspect_archive(store / kind), content)
    assert found[f"fused.{runtime}"] == (None, FILES[runtime])
    assert main(["archive", "inspect", str(folder)]) == 0
    assert any(
        line.split() == [f"fused.{runtime}", FILES[runtime]] for line in capsys.readouterr().out.splitlines()
    )


def test_it_is_built_by_the_command_and_answers_without_torch(
    fused_artifact: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ts", reason="needs torchserve: pip install 'torchtowers[serve]'")
    command = [
        "archive",
        "build",
        str(fused_artifact),
        "--name",
        "m",
        "--export-path",
        str(tmp_path),
        "--fused",
    ]
    assert main(command) == 0
    assert "m.mar is built, runtime onnx, fused" in capsys.readouterr().err
    folder = unpacked(tmp_path / "m.mar", tmp_path / "model")
    report = run(sys.executable, "-I", str(WORKER), str(folder), "torch", json.dumps(REQUESTS[:1]))
    (answer,) = report["response"]["answers"]
    ((_, expected),) = asked(RetrievalHandler(), store / "retrieval", REQUESTS[:1])
    assert_alike(json.loads(answer["body"]), expected)
    assert contents_of(tmp_path / "m.mar").keys() >= {"fused.onnx"}


@pytest.mark.parametrize("kind", ["retrieval", "ranking"])
@pytest.mark.parametrize("runtime", FILES)
def test_the_serialized_file_of_torch_model_archiver_chooses_it(
    fused_artifact: Path, fused_ranking_artifact: Path, tmp_path: Path, kind: str, runtime: str
) -> None:
    artifact = fused_artifact if kind == "retrieval" else fused_ranking_artifact
    path = packaged(artifact, tmp_path / "store", serialized=FILES[runtime], kind=kind)
    assert [finding for finding in lint_archive(path) if finding.kind == "error"] == []
    folder = unpacked(path, tmp_path / "model")
    model = Recommender.load(folder) if kind == "retrieval" else CandidateRanker.load(folder)
    assert runtime_of(model) == f"fused {runtime}"


def test_what_can_not_be_built_is_refused(artifact: Path, fused_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"has no onnx fused file, only none; export it with .*--fused"):
        build_archive(artifact, name="m", export_path=tmp_path, fused=True)
    with pytest.raises(ArtifactError, match="has no pt2 fused file, only onnx, torchscript"):
        build_archive(fused_artifact, name="m", export_path=tmp_path, fused=True, runtime="pt2")
    with pytest.raises(ExportError, match=r"device: fused\.onnx runs on the CPU"):
        build_archive(
            fused_artifact, name="m", export_path=tmp_path, fused=True, config=ServingConfig(device="gpu")
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("runtime", "fused", "file"),
    [("onnx", False, "query.onnx"), ("onnx", True, "fused.onnx"), ("torchscript", True, "fused.pt")],
)
def test_half_precision_is_refused_of_a_file_that_can_not_compute_in_it(
    fused_artifact: Path, tmp_path: Path, runtime: str, fused: bool, file: str
) -> None:
    config = tmp_path / "half.yaml"
    config.write_text("torchtowers: {precision: bfloat16}")
    with pytest.raises(ArtifactError, match=f"precision is bfloat16, but {re.escape(file)} computes in the"):
        build_archive(
            fused_artifact,
            name="m",
            export_path=tmp_path / "store",
            runtime=runtime,
            fused=fused,
            config=config,
        )
    build_archive(fused_artifact, name="m", export_path=tmp_path, runtime="torchscript", config=config)


def test_a_fused_file_of_other_items_is_refused(store: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(store / "retrieval-onnx", tmp_path / "copy"))
    (folder / "MAR-INF/MANIFEST.json").unlink()
    names = np.load(folder / "index/ids.bytes.npy")
    names[1] = ord("9")  # of "100"
    np.save(folder / "index/ids.bytes.npy", names)
    signature = Signature.read(folder)
    replace(signature, files={name: sha256_of(folder / name) for name in signature.files}).write(folder)
    with pytest.raises(ArtifactError, match="the fused file gives 100, which is no candidate of the index"):
        Recommender.load(folder)
