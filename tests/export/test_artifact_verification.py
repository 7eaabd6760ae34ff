"""An artifact is verified where its run is not."""

import json
import shutil
from pathlib import Path

import pytest

from tests.export.test_verification import add_to_onnx, sign_again
from torchtowers.cli import main as cli
from torchtowers.export.comparison import BATCH_SIZES
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.export.verification import verify_artifact
from torchtowers.handlers.errors import ArtifactError


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "copy"))


def test_the_command_prints_every_comparison(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "verify", str(artifact), "--json"]) == 0
    comparisons = json.loads(capsys.readouterr().out)
    assert len(comparisons) == 2 * 3 * len(BATCH_SIZES)
    assert max(comparison["difference"] for comparison in comparisons) <= 1e-5


def test_the_command_prints_the_table_and_exits_1_beyond_the_tolerance(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_to_onnx(copy, "query", "tower.tables.feature_gender.table.weight", None, 0.01)
    sign_again(copy)
    assert cli.main(["export", "verify", str(copy)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["runtime", "compared", "batch", "largest", "difference"]
    assert len(out.splitlines()) == 1 + 2 * 3 * len(BATCH_SIZES)
    assert "torchtowers: the onnx " in err


def test_a_ranking_artifact(ranking_artifact: Path) -> None:
    assert len(verify_artifact(ranking_artifact)) == 2 * 2 * len(BATCH_SIZES)


def test_an_altered_file_is_refused(copy: Path) -> None:
    with (copy / "query.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ArtifactError, match=r"query\.onnx in copy was altered"):
        verify_artifact(copy)


def test_without_the_trained_models_answers_it_says_so(copy: Path) -> None:
    (copy / "verification.safetensors").write_bytes(b"no tensors")
    sign_again(copy)
    with pytest.raises((ExportError, VerificationError), match=r"verification\.safetensors"):
        verify_artifact(copy)


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["RUN"], "torchtowers export: error: the following arguments are required: --out"),
        (["check", "a", "--out", "b"], "unrecognized arguments: a"),
        (["verify"], "torchtowers export verify: error: the following arguments are required: ARTIFACT"),
        (["verify", "a", "b"], "unrecognized arguments: b"),
        (["index", "a"], "torchtowers export index: error: the following arguments are required: --items"),
    ],
)
def test_other_words_are_told_what_is_expected(
    words: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", *words])
    assert ended.value.code == 2
    assert usage in capsys.readouterr().err
