"""Workers of real archives that compute in half precision, checked by the requests recorded in float32."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.handlers.test_base import Worker
from torchtowers.export.archive import build_archive
from torchtowers.handlers.agreement import agree, tolerance_of
from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.combined_signature import read_signature
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.ranking_handler import RankingHandler
from torchtowers.handlers.recommendation_handler import RecommendationHandler
from torchtowers.handlers.retrieval_handler import RetrievalHandler
from torchtowers.handlers.samples import FILE_NAME, Sample, read_samples, write_samples
from torchtowers.handlers.seal import MANIFEST
from torchtowers.handlers.signature import sha256_of

HALVES = ["bfloat16", "float16"]
HANDLERS: dict[str, tuple[str, str, type[BaseHandler]]] = {
    "retrieval": ("archives", "tiny", RetrievalHandler),
    "ranking": ("ranking_archives", "ranking", RankingHandler),
    "recommendation": ("combined_archives", "both", RecommendationHandler),
}


@pytest.fixture(scope="module", params=HANDLERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An archive of TorchScript, unpacked as TorchServe does."""
    fixture, name, _ = HANDLERS[kind]
    return unpacked(request.getfixturevalue(fixture) / f"{name}-torchscript.mar", tmp_path / "model")


def unpacked(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def worker_of(kind: str, folder: Path, **settings: object) -> Worker:
    return Worker(folder, {"torchtowers": settings}, handler=HANDLERS[kind][2])


@pytest.mark.parametrize("precision", HALVES)
def test_a_worker_is_ready_and_answers_nearly_as_in_float32(kind: str, folder: Path, precision: str) -> None:
    samples = read_samples(folder / "samples.json")
    half = worker_of(kind, folder, precision=precision).load()
    answers = half.ask(*({"body": sample.request} for sample in samples))
    assert all(status == 200 for status, _ in answers)
    for sample, (_, answer) in zip(samples, answers, strict=True):
        assert agree(sample.answer, answer, tolerance_of(precision, kind))
    # They are others, so that it is really computed otherwise.
    found = [answer["scores"] for _, answer in answers]
    assert found != [sample.answer["scores"] for sample in samples]


def test_the_log_tells_the_precision(
    folder: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(
        "torchtowers.handlers.base.log_event", lambda event, **fields: told.update({event: fields})
    )
    worker_of(kind, folder, precision="bfloat16").load()
    assert told["loaded"]["precision"] == "bfloat16"
    worker_of(kind, folder).load()
    assert told["loaded"]["precision"] == "float32"


def test_a_wrong_answer_is_refused_in_half_precision_too(kind: str, folder: Path) -> None:
    samples = list(read_samples(folder / "samples.json"))
    off = {**samples[3].answer, "scores": [score + 0.1 for score in samples[3].answer["scores"]]}
    record(folder, [*samples[:3], replace(samples[3], answer=off)])
    with pytest.raises(ArtifactError, match=r"is not answered as at export: .*sample_tolerance .*, 0\.03125"):
        worker_of(kind, folder, precision="bfloat16").load()
    worker_of(kind, folder, precision="bfloat16", sample_tolerance=0.2).load()


def test_a_tolerance_that_is_given_wins(kind: str, folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"sample_tolerance in model-config.yaml, 1e-09"):
        worker_of(kind, folder, precision="bfloat16", sample_tolerance=1e-9).load()


def test_what_a_search_finds_last_may_differ_in_two_stages(combined_archives: Path, tmp_path: Path) -> None:
    folder = unpacked(combined_archives / "both-torchscript.mar", tmp_path / "model")
    worker = worker_of("recommendation", folder, precision="bfloat16").load()
    (sample, *_) = read_samples(folder / "samples.json")
    # As if at export the search had found another item last, the best by the ranking model.
    (found,) = [answer for _, answer in worker.ask({"body": sample.request})]
    other = {
        **found,
        "items": ["elsewhere", *found["items"][:-1]],
        "scores": [found["scores"][0] + 1, *found["scores"][:-1]],
    }
    record(folder, [Sample(sample.request, other)])
    worker_of("recommendation", folder, precision="bfloat16").load()
    with pytest.raises(ArtifactError, match="is not answered as at export"):
        worker_of("recommendation", folder, sample_tolerance=0.03).load()


@pytest.mark.parametrize("precision", HALVES)
def test_onnx_archives_are_refused(archives: Path, tmp_path: Path, precision: str) -> None:
    folder = unpacked(archives / "tiny-onnx.mar", tmp_path / "model")
    with pytest.raises(
        ArtifactError, match=f"precision is {precision}, but an ONNX file computes in the types"
    ):
        worker_of("retrieval", folder, precision=precision).load()


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
@pytest.mark.parametrize("kind", ["retrieval", "ranking"])
def test_fused_archives_are_refused(
    kind: str, runtime: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    artifact = request.getfixturevalue("fused_artifact" if kind == "retrieval" else "fused_ranking_artifact")
    path = build_archive(artifact, name="fused", export_path=tmp_path, runtime=runtime, fused=True)
    with pytest.raises(ArtifactError, match="precision is bfloat16, but a fused file computes in the types"):
        worker_of(kind, unpacked(path, tmp_path / "model"), precision="bfloat16").load()


def test_allowing_the_cpu_keeps_the_precision(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    worker = worker_of(
        "retrieval",
        unpacked(archives / "tiny-torchscript.mar", tmp_path / "model"),
        precision="bfloat16",
        allow_cpu=True,
    )
    worker.context.system_properties["gpu_id"] = 0
    dtypes: list[torch.dtype] = []
    autocast = torch.autocast

    def recorded(device: str, dtype: torch.dtype) -> torch.autocast:
        dtypes.append(dtype)
        return autocast(device, dtype=dtype)

    monkeypatch.setattr("torch.autocast", recorded)
    worker.load()
    assert {*dtypes} == {torch.bfloat16}


def record(folder: Path, samples: Sequence[Sample]) -> None:
    """Give an unpacked archive other samples; its manifest, which would refuse them, is left out."""
    (folder / MANIFEST).unlink()
    write_samples(folder, samples)
    signature = read_signature(folder)
    signature.with_files({**signature.files, FILE_NAME: sha256_of(folder / FILE_NAME)}).write(folder)
