import copy
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import nn

from torchtowers.cli import main as cli
from torchtowers.export import artifact as exporting
from torchtowers.export import formats
from torchtowers.export.artifact import export_artifact
from torchtowers.export.comparison import BATCH_SIZES, TOLERANCE
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature, sha256_of
from torchtowers.models.experiment import Trained

FAST = ("torchscript",)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def earlier(trained: Trained, tmp_path: Path) -> Path:
    """A good artifact in a folder of its own."""
    out = tmp_path / "artifacts" / "tiny"
    export_artifact(trained, out, FAST)
    return out


@pytest.fixture
def wrong_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every TorchScript file that is exported differ from the trained tower."""

    def export(tower: nn.Module, path: Path) -> None:
        scripted = torch.jit.script(copy.deepcopy(tower))  # a scripted module shares its weights
        with torch.no_grad():
            next(iter(scripted.parameters())).add_(0.01)
        torch.jit.save(scripted, str(path))

    monkeypatch.setattr(formats, "export_torchscript", export)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file grow above `limit` bytes; Python ignores the signal that would come with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_signature_lists_every_file_with_its_sha256(artifact: Path) -> None:
    files = {path.relative_to(artifact).as_posix() for path in artifact.rglob("*") if path.is_file()}
    signature = Signature.read(artifact)
    assert set(signature.files) == files - {"signature.json", "model-config.yaml"}
    assert signature.files == {name: sha256_of(artifact / name) for name in signature.files}
    assert signature.towers == {
        "torchscript": {"query": "query.pt", "candidate": "candidate.pt"},
        "onnx": {"query": "query.onnx", "candidate": "candidate.onnx"},
    }
    assert {"python", "numpy", "onnx", "torch", "torchtowers"} <= set(signature.versions)


def test_report_holds_every_comparison(artifact: Path) -> None:
    report = json.loads((artifact / "report.json").read_text())
    asked = {(entry["runtime"], entry["compared"], entry["batch"]) for entry in report["comparisons"]}
    assert asked == {
        (runtime, compared, batch)
        for runtime in ("torchscript", "onnx")
        for compared in ("query", "candidate", "recommendations")
        for batch in BATCH_SIZES
    }
    assert {batch for _, _, batch in asked} == {1, 2, 7, 64, 1024}
    assert report["tolerance"] == TOLERANCE == 1e-5
    assert report["largest_difference"] == max(entry["difference"] for entry in report["comparisons"]) <= 1e-5


def test_no_path_of_the_exporting_machine_is_in_any_file(
    trained: Trained, artifact: Path, archives: Path
) -> None:
    root = Path(__file__).parents[2]
    places = [root, trained.run.folder, artifact, archives, Path.home(), Path(torch.__file__).parent]
    everything = {**contents(artifact), **contents(archives)}
    assert len(everything) > 20
    for place in places:
        for name, content in everything.items():
            assert str(place).encode() not in content, f"{place} is in {name}"


def test_two_exports_of_one_run_are_the_same_to_the_byte(trained: Trained, tmp_path: Path) -> None:
    for name in ("first", "second"):
        export_artifact(trained, tmp_path / "elsewhere" / name, FAST)
    first, second = (contents(tmp_path / "elsewhere" / name) for name in ("first", "second"))
    differing = {name for name in first if first[name] != second.get(name)}
    # TorchScript counts up the names of its types within a process.
    assert differing <= {"query.pt", "candidate.pt", "signature.json"}
    assert set(first) == set(second)


@pytest.mark.usefixtures("wrong_tower")
def test_wrong_tower_is_never_left_under_the_name(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="at most 1e-05 is allowed; nothing was exported"):
        export_artifact(trained, tmp_path / "artifacts" / "tiny", FAST)
    assert not list((tmp_path / "artifacts").iterdir())


def test_failed_verification_exits_1_and_keeps_the_earlier_artifact(
    trained: Trained,
    earlier: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = contents(earlier)
    request.getfixturevalue("wrong_tower")
    monkeypatch.setattr("torchtowers.models.experiment.open_run", lambda *_, **__: trained)
    code = cli.main(["export", "RUN", "--out", str(earlier), "--format", "torchscript"])
    assert code == 1
    out, err = capsys.readouterr()
    # All comparisons are shown, so that one sees what differs and what does not.
    assert len(out.splitlines()) == 1 + 3 * len(BATCH_SIZES)
    assert err.splitlines()[-1].startswith("torchtowers: the torchscript ")
    assert contents(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]


@pytest.mark.parametrize("step", ["verify", "_write_report"])
def test_interrupted_export_keeps_the_earlier_artifact_and_leaves_nothing_beside(
    trained: Trained, earlier: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = contents(earlier)
    monkeypatch.setattr(exporting, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_artifact(trained, earlier, FAST)
    assert contents(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no")])
def test_interruption_between_the_two_moves_brings_the_earlier_artifact_back(
    trained: Trained, earlier: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    before = contents(earlier)
    rename = Path.rename

    def fail_for_the_new_one(self: Path, target: Path) -> Path:
        if self.name == "new":
            assert not earlier.exists()
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ExportError):
        export_artifact(trained, earlier, FAST)
    assert contents(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]


def test_verified_export_replaces_the_earlier_artifact_wholly(trained: Trained, earlier: Path) -> None:
    (earlier / "left-over.txt").write_text("of the earlier one")
    export_artifact(trained, earlier, FAST, lookup=False)
    assert not (earlier / "left-over.txt").exists()
    assert not (earlier / "lookup").exists()
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]
    assert earlier.stat().st_mode & 0o777 == earlier.parent.stat().st_mode & 0o777


def test_known_users_are_not_known_without_lookup(trained: Trained, tmp_path: Path) -> None:
    comparisons = export_artifact(trained, tmp_path / "bare", FAST, lookup=False)
    assert all(comparison.difference <= TOLERANCE for comparison in comparisons)
    assert Signature.read(tmp_path / "bare").query.lookup == {}
    alone = Recommender.load(tmp_path / "bare").recommend({"user_id": "u1"})
    sent: dict[str, object] = {"user_id": "u1", "age": None, "gender": None, "history": []}
    assert Recommender.load(tmp_path / "bare").recommend(sent) == alone


def test_link_goes_on_pointing_at_the_artifact(trained: Trained, earlier: Path) -> None:
    link = earlier.parent / "current"
    link.symlink_to(earlier)
    (earlier / "left-over.txt").write_text("of the earlier one")
    export_artifact(trained, link, FAST)
    assert link.readlink() == earlier
    assert not (earlier / "left-over.txt").exists()


def test_working_directory_can_be_the_artifact(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_artifact(trained, ".", FAST)
    assert (tmp_path / "here" / "signature.json").exists()


def test_what_is_no_artifact_is_not_replaced(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    (tmp_path / "file").write_text("mine")
    for name in ("thesis", "file"):
        with pytest.raises(
            ExportError, match=f"{name} is in the way and is no artifact: choose another --out"
        ):
            export_artifact(trained, tmp_path / name, FAST)
    assert contents(tmp_path) == {"thesis/chapter1.tex": b"years of work", "file": b"mine"}


@pytest.mark.parametrize("formats", [(), ("pickle",), ("onnx", "pickle")])
def test_unknown_format_is_refused_before_any_work(
    trained: Trained, tmp_path: Path, formats: tuple[str, ...]
) -> None:
    with pytest.raises(ExportError, match=r"unknown format (none|pickle); known: torchscript, onnx, pt2"):
        export_artifact(trained, tmp_path / "out", formats)
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_nothing_and_says_so_in_one_line(trained: Trained, tmp_path: Path) -> None:
    for limit in (1000, 2000):  # within a tower's file, and within a later one
        with pytest.raises(ExportError, match="tiny can't be written: ") as caught, full_disk(limit):
            export_artifact(trained, tmp_path / "artifacts" / "tiny", FAST)
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "artifacts").iterdir())


def test_column_that_json_cannot_hold_is_named(trained: Trained, tmp_path: Path) -> None:
    dataset = trained.dataset
    for values in ([date(2020, 1, 1)] * len(dataset.items), [float("nan")] * len(dataset.items)):
        table = dataset.item_table.with_columns(pl.Series("year", values))
        changed = Trained(
            trained.run,
            trained.config,
            type(dataset)(**{**vars(dataset), "item_table": table}),
            trained.model,
            trained.interrupted,
        )
        with pytest.raises(ExportError, match=r"data\.columns: year: an answer is JSON, which can't hold it"):
            export_artifact(changed, tmp_path / "out", FAST)
        assert not list(tmp_path.iterdir())
