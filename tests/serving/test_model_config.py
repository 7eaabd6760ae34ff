"""What an archive's settings say of how far its answers may differ."""

import shutil
from pathlib import Path

from tests.servers import write_archive
from torchtowers.export.archive import build_archive
from torchtowers.handlers.agreement import Tolerance
from torchtowers.serving.model_config import answer_tolerance, served_tolerance


def half(artifact: Path, store: Path, name: str, version: str, settings: str) -> Path:
    config = store / f"{name}.yaml"
    config.write_text(f"torchtowers: {{{settings}}}")
    return build_archive(
        artifact, name=name, version=version, export_path=store, runtime="torchscript", config=config
    )


def test_the_tolerance_is_that_of_the_precision_and_the_kind(
    artifact: Path, combined_artifact: Path, archives: Path, tmp_path: Path
) -> None:
    assert answer_tolerance(archives / "tiny-torchscript.mar") == Tolerance()
    assert answer_tolerance(half(artifact, tmp_path, "one", "1.0", "precision: bfloat16")) == Tolerance(2**-5)
    both = half(combined_artifact, tmp_path, "both", "1.0", "precision: float16")
    assert answer_tolerance(both) == Tolerance(2**-8, shared=0.5)
    given = half(artifact, tmp_path, "given", "1.0", "sample_tolerance: 0.25")
    assert answer_tolerance(given) == Tolerance(0.25)


def test_of_a_served_model_it_is_that_of_its_version(artifact: Path, tmp_path: Path) -> None:
    half(artifact, tmp_path, "one", "1.0", "precision: float16")
    shutil.move(tmp_path / "one.mar", tmp_path / "older.mar")
    half(artifact, tmp_path, "one", "2.0", "precision: bfloat16")
    assert served_tolerance(tmp_path, "one", "1.0").scores == 2**-8
    assert served_tolerance(tmp_path, "one").scores == 2**-5
    assert served_tolerance(tmp_path, "one", "3.0") == Tolerance()
    assert served_tolerance(tmp_path, "other") == Tolerance()
    assert served_tolerance(tmp_path / "nowhere", "one") == Tolerance()


def test_an_archive_of_another_tool_has_none_of_our_settings(tmp_path: Path) -> None:
    path = write_archive(tmp_path, "echo", model_config="torchtowers: [of another tool]")
    assert answer_tolerance(path) == Tolerance()
