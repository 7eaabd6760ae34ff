"""From a run to an artifact directory, which is verified before it is there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torchtowers.data.folders import is_empty_folder, replaced_folder
from torchtowers.export.bill import write_bills
from torchtowers.export.errors import ExportError
from torchtowers.export.formats import FORMATS
from torchtowers.export.ranking_artifact import write_ranking
from torchtowers.export.ranking_verification import verify_ranking
from torchtowers.export.retrieval_artifact import write_retrieval
from torchtowers.export.vendored import CONFIG, write_vendored
from torchtowers.export.verification import TOLERANCE, Comparison, verify
from torchtowers.handlers.signature import FILE_NAME, sha256_of
from torchtowers.models.experiment import Trained
from torchtowers.models.ranker import Ranker
from torchtowers.models.retrieval_model import as_retrieval_model

__all__ = ["export_artifact"]


def export_artifact(
    trained: Trained,
    out: str | Path,
    formats: Sequence[str] = ("torchscript", "onnx"),
    *,
    lookup: bool = True,
    log: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Export a trained model; an earlier artifact under the same name is replaced only by a verified one.

    Args:
        trained: A run with its data and model.
        out: The artifact directory.
        formats: Of `FORMATS`.
        lookup: Whether known users' features are kept in the artifact, and for a ranking model known items',
            so that their id alone is enough.
        log: Told what is done, a line each.

    Returns:
        What verification compared.

    Raises:
        ExportError: A format is unknown, or `out` is in the way or can't be written.
        VerificationError: An exported file differs from the model.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ExportError(f"unknown format {', '.join(unknown) or 'none'}; known: {', '.join(FORMATS)}")
    target = Path(out)
    try:
        if target.exists() and not (target / FILE_NAME).exists() and not is_empty_folder(target):
            raise ExportError(f"{out} is in the way and is no artifact: choose another --out or remove it")
        with replaced_folder(target) as part:
            comparisons = _write(trained, part, list(dict.fromkeys(formats)), lookup=lookup, log=log)
    except OSError as error:
        raise ExportError(f"{out} can't be written: {error.strerror or error}") from error
    return comparisons


def _write(
    trained: Trained, folder: Path, formats: Sequence[str], *, lookup: bool, log: Callable[[str], None]
) -> list[Comparison]:
    is_ranking = isinstance(trained.model, Ranker)
    write = write_ranking if is_ranking else write_retrieval
    signature = write(trained, folder, formats, lookup=lookup, log=log)
    write_vendored(folder, signature.kind)
    write_bills(folder, signature, log=log)
    signature = replace(signature, files=_hashes(folder))
    # Verification reads the signature back, as serving will.
    signature.write(folder)
    log("verifying every file against the trained model")
    if is_ranking:
        comparisons = verify_ranking(folder, trained.model, trained.dataset)
    else:
        comparisons = verify(folder, as_retrieval_model(trained.model), trained.dataset)
    report = _write_report(folder, comparisons)
    replace(signature, files={**signature.files, report.name: sha256_of(report)}).write(folder)
    return comparisons


def _write_report(folder: Path, comparisons: Sequence[Comparison]) -> Path:
    report = {
        "tolerance": TOLERANCE,
        "largest_difference": max(comparison.difference for comparison in comparisons),
        "comparisons": [vars(comparison) for comparison in comparisons],
    }
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path


def _hashes(folder: Path) -> dict[str, str]:
    """Give the sha256 of every file but the signature, which holds them, and the settings, which may vary."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: sha256_of(path) for name, path in files.items() if name not in (FILE_NAME, CONFIG)}
