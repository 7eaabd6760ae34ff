"""From a run to an artifact directory, which is verified before it is there."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torchtowers.data.folders import is_empty_folder, replaced_folder
from torchtowers.export.bill import write_bills
from torchtowers.export.comparison import TOLERANCE, Comparison
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.export.expected import Arrays, expected_ranking, expected_retrieval, write_expected
from torchtowers.export.formats import FORMATS, FUSED_FORMATS, export_fused
from torchtowers.export.loss import Loss, check_loss, ranking_loss, retrieval_loss
from torchtowers.export.onnx import OPSET
from torchtowers.export.precision import Precision
from torchtowers.export.ranking_artifact import write_ranking
from torchtowers.export.retrieval_artifact import write_retrieval
from torchtowers.export.samples import record_samples
from torchtowers.export.vendored import CONFIG, write_vendored
from torchtowers.export.verification import verify
from torchtowers.handlers.signature import FILE_NAME, Signature, sha256_of
from torchtowers.models.experiment import Trained
from torchtowers.models.ranker import Ranker
from torchtowers.models.retrieval_model import as_retrieval_model

__all__ = ["export_artifact"]

_FLOAT32 = Precision()


def export_artifact(
    trained: Trained,
    out: str | Path,
    formats: Sequence[str] = ("torchscript", "onnx"),
    *,
    fused: bool = False,
    opset: int = OPSET,
    lookup: bool = True,
    precision: Precision = _FLOAT32,
    log: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Export a trained model; an earlier artifact under the same name is replaced only by a verified one.

    Args:
        trained: A run with its data and model.
        out: The artifact directory.
        formats: Of `FORMATS`.
        fused: Whether also one file is written for each format that can hold it, of all from raw values to
            ids and scores.
        opset: The version of ONNX's operators, from 18 on.
        lookup: Whether known users' features are kept in the artifact, and for a ranking model known items',
            so that their id alone is enough.
        precision: What weights and index are kept as. Where it is not float32, the loss is measured on the
            run's test queries and written to `report.json`.
        log: Told what is done, a line each.

    Returns:
        What verification compared.

    Raises:
        ExportError: A format is unknown, or `out` is in the way or can't be written.
        VerificationError: An exported file differs from the model.
        LossError: Smaller weights or a smaller index lose more than `precision` allows.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ExportError(f"unknown format {', '.join(unknown) or 'none'}; known: {', '.join(FORMATS)}")
    if fused and not set(formats) & set(FUSED_FORMATS):
        raise ExportError(
            f"a fused file is of format {' or '.join(FUSED_FORMATS)}: add one of them to --format"
        )
    target = Path(out)
    try:
        if target.exists() and not (target / FILE_NAME).exists() and not is_empty_folder(target):
            raise ExportError(f"{out} is in the way and is no artifact: choose another --out or remove it")
        smaller = precision.applied(trained)
        with replaced_folder(target) as part:
            write = write_ranking if isinstance(trained.model, Ranker) else write_retrieval
            signature = write(
                smaller,
                part,
                list(dict.fromkeys(formats)),
                opset=opset,
                lookup=lookup,
                precision=precision,
                log=log,
            )
            write_expected(part, _expected(smaller, lookup=lookup))
            signature = _complete(smaller, part, signature, fused=fused, log=log)
            loss = _loss(part, signature, trained, smaller, precision, log)
            comparisons = _verified(part, smaller, log)
            signature = record_samples(part, signature)
            report = _write_report(part, comparisons, loss)
            replace(signature, files={**signature.files, report.name: sha256_of(report)}).write(part)
    except OSError as error:
        raise ExportError(f"{out} can't be written: {error.strerror or error}") from error
    return comparisons


def _expected(trained: Trained, *, lookup: bool) -> Arrays:
    if isinstance(trained.model, Ranker):
        return expected_ranking(trained.model, trained.dataset, lookup=lookup)
    return expected_retrieval(as_retrieval_model(trained.model), trained.dataset, lookup=lookup)


def _complete(
    trained: Trained, folder: Path, signature: Signature, *, fused: bool, log: Callable[[str], None]
) -> Signature:
    """Write what does not depend on the model's kind, and then the signature, as serving will read it."""
    write_vendored(folder, signature.kind)
    write_bills(folder, signature, log=log)
    signature = replace(signature, files=_hashes(folder))
    if fused:
        log("exporting the fused files")
        files = {
            name: export_fused(name, trained, folder, signature)
            for name in signature.towers
            if name in FUSED_FORMATS
        }
        signature = replace(signature, fused=files, files=_hashes(folder))
    signature.write(folder)
    return signature


def _loss(
    folder: Path,
    signature: Signature,
    trained: Trained,
    smaller: Trained,
    precision: Precision,
    log: Callable[[str], None],
) -> Loss | None:
    if not precision.is_smaller:
        return None
    log("measuring what is lost, on the test queries")
    if isinstance(trained.model, Ranker):
        loss = ranking_loss(folder, signature, trained, smaller.model)
    else:
        loss = retrieval_loss(folder, signature, trained)
    log(
        f"{loss.top_10_overlap:.2%} of the best 10 and {loss.top_100_overlap:.2%} of the best 100 are kept, "
        f"over {loss.queries:,} test queries; scores differ by {loss.score_difference:.2g} on average"
    )
    check_loss(loss, precision.max_loss)
    return loss


def _verified(folder: Path, trained: Trained, log: Callable[[str], None]) -> list[Comparison]:
    log("verifying every file against the trained model")
    try:
        return verify(folder, trained)
    except VerificationError as error:
        raise VerificationError(f"{error}; nothing was exported", error.comparisons) from error


def _write_report(folder: Path, comparisons: Sequence[Comparison], loss: Loss | None) -> Path:
    report = {
        "tolerance": TOLERANCE,
        "largest_difference": max(comparison.difference for comparison in comparisons),
        "comparisons": [vars(comparison) for comparison in comparisons],
        **({} if loss is None else {"loss": vars(loss)}),
    }
    path = folder / "report.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path


def _hashes(folder: Path) -> dict[str, str]:
    """Give the sha256 of every file but the signature, which holds them, and the settings, which may vary."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: sha256_of(path) for name, path in files.items() if name not in (FILE_NAME, CONFIG)}
