"""From a run to an artifact directory: towers, index, encoders, signature; verified before it is there."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from torchtowers.data.dataset import Dataset
from torchtowers.data.features import EntityTable
from torchtowers.data.folders import is_empty_folder, replaced_folder
from torchtowers.data.ragged import Ragged
from torchtowers.export.errors import ExportError
from torchtowers.export.onnx import OPSET, export_onnx
from torchtowers.export.torchscript import export_torchscript
from torchtowers.export.verification import TOLERANCE, Comparison, verify
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.signature import (
    FILE_NAME,
    FeatureSpec,
    IndexSpec,
    Signature,
    TowerSpec,
    sha256_of,
)
from torchtowers.handlers.strings import StringTable
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.experiment import Trained
from torchtowers.models.versions import installed_versions

__all__ = ["FORMATS", "export_artifact"]

FORMATS = {"torchscript": "pt", "onnx": "onnx"}


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
        lookup: Whether known users' features are kept in the artifact, so that their id alone is enough.
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
    dataset, model = trained.dataset, trained.model.eval()
    towers: dict[str, dict[str, str]] = {}
    for name in formats:
        log(f"exporting {name}")
        towers[name] = {side: f"{side}.{FORMATS[name]}" for side in ("query", "candidate")}
        for side, tower, table in (
            ("query", model.query_tower, dataset.users),
            ("candidate", model.candidate_tower, dataset.items),
        ):
            path = folder / towers[name][side]
            if name == "onnx":
                export_onnx(tower, table.encoders, path)
            else:
                export_torchscript(tower, path)
    index = _write_index(folder, trained)
    (folder / "encoders").mkdir()
    for name, vocabulary in dataset.vocabularies.items():
        vocabulary.save(folder / "encoders" / f"{name}.json")
    known = _write_lookup(folder, dataset) if lookup else {}
    columns = _write_columns(folder, trained)
    signature = Signature(
        kind="retrieval",
        query=_tower_spec(dataset.users, dataset, known),
        candidate=_tower_spec(dataset.items, dataset, {}),
        history=dataset.history,
        index=index,
        columns=columns,
        towers=towers,
        onnx_opset=OPSET if "onnx" in formats else None,
        versions=installed_versions("numpy", "onnx", "onnxruntime", "torch", "torchtowers"),
        files=_hashes(folder),
    )
    # Verification reads the signature back, as serving will.
    signature.write(folder)
    log("verifying every file against the trained model")
    comparisons = verify(folder, model, dataset)
    report = _write_report(folder, comparisons)
    replace(signature, files={**signature.files, report.name: sha256_of(report)}).write(folder)
    return comparisons


def _write_index(folder: Path, trained: Trained) -> IndexSpec:
    embeddings = embed_candidates(trained.model, trained.dataset)
    ids = _json_table(trained.dataset.items.key, trained.dataset.items.tokens)
    index = ExactIndex(np.ascontiguousarray(embeddings), ids)
    spec = IndexSpec(
        size=len(index),
        dimension=embeddings.shape[1],
        metric=index.metric,
        exact=index.is_exact,
        embeddings="index/embeddings.npy",
        ids="index/ids",
    )
    index.save(folder, spec)
    return spec


def _write_lookup(folder: Path, dataset: Dataset) -> dict[str, str]:
    stems = {}
    for name, column in dataset.users.columns.items():
        if name == dataset.users.key:
            continue
        if name == dataset.history and dataset.full_history is not None:
            column = dataset.full_history
        stems[name] = f"lookup/{name}"
        known = (
            LookupColumn(column.values, column.offsets)
            if isinstance(column, Ragged)
            else LookupColumn(column, None)
        )
        known.save(folder, stems[name])
    return stems


def _write_columns(folder: Path, trained: Trained) -> dict[str, str]:
    table = trained.dataset.item_table
    stems = {}
    for name in trained.config.data.columns:
        if name not in table.columns:
            raise ExportError(
                f"data.columns: there is no item column {name}; there are {', '.join(table.columns)}"
            )
        stems[name] = f"columns/{name}"
        _json_table(f"data.columns: {name}", table[name].to_list()).save(folder, stems[name])
    return stems


def _json_table(what: str, values: Iterable[object]) -> StringTable:
    """Pack values as the JSON text that an answer will hold."""
    try:
        return StringTable.of(json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values)
    except (TypeError, ValueError) as error:
        raise ExportError(
            f"{what}: an answer is JSON, which can't hold it ({error}); leave it out, or make it text"
        ) from error


def _tower_spec(table: EntityTable, dataset: Dataset, lookup: Mapping[str, str]) -> TowerSpec:
    features = []
    for name, encoder in table.encoders.items():
        description: dict[str, Any] = encoder.to_json()
        if hasattr(encoder, "vocabulary"):
            owner = dataset.items.key if name == dataset.history else name
            description["vocabulary"] = f"encoders/{owner}.json"
        features.append(
            FeatureSpec(
                name=name,
                dtype=encoder.dtype,
                shape=("batch", "length") if encoder.is_list else ("batch",),
                encoder=description,
                out_of_vocabulary=encoder.out_of_vocabulary,
                required=name == table.key,
            )
        )
    return TowerSpec(table.key, tuple(features), lookup)


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
    """Give the sha256 of every file but the signature, which holds them."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: sha256_of(path) for name, path in files.items() if name != FILE_NAME}
