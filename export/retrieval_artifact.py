"""What the artifact of a retrieval model holds: two towers, the index, item columns."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torchtowers.export.column_writer import write_filter
from torchtowers.export.errors import ExportError
from torchtowers.export.formats import FORMATS, export_module
from torchtowers.export.index_writer import IndexBlock, IndexWriter
from torchtowers.export.json_table import json_table
from torchtowers.export.precision import Precision
from torchtowers.export.tower_inputs import tower_spec, write_lookup, write_vocabularies
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.signature import Signature
from torchtowers.models.evaluation import embed_candidates
from torchtowers.models.experiment import Trained
from torchtowers.models.retrieval_model import as_retrieval_model
from torchtowers.models.versions import installed_versions

__all__ = ["write_retrieval"]


def write_retrieval(
    trained: Trained,
    folder: Path,
    formats: Sequence[str],
    *,
    opset: int,
    lookup: bool,
    precision: Precision,
    log: Callable[[str], None],
) -> Signature:
    """Write the artifact's files and give its signature, which names no sha256 yet.

    Args:
        trained: A run with its data and model.
        folder: Where they go.
        formats: Of `FORMATS`.
        opset: Of ONNX files.
        lookup: Whether known users' features are kept.
        precision: What the model's weights are, and what the index is to be.
        log: Told what is done, a line each.

    Raises:
        ExportError: A tower or a column can't be exported.
    """
    dataset, model = trained.dataset, as_retrieval_model(trained.model.eval())
    towers: dict[str, dict[str, str]] = {}
    for name in formats:
        log(f"exporting {name}")
        towers[name] = {side: f"{side}.{FORMATS[name]}" for side in ("query", "candidate")}
        for side, tower, table in (
            ("query", model.query_tower, dataset.users),
            ("candidate", model.candidate_tower, dataset.items),
        ):
            export_module(name, tower, table.encoders, folder / towers[name][side], opset=opset)
    stems = _column_stems(trained)
    spec = _write_index(folder, trained, precision, stems)
    write_vocabularies(folder, dataset)
    known = write_lookup(folder, dataset.users, dataset) if lookup else {}
    return Signature(
        kind="retrieval",
        query=tower_spec(dataset.users, dataset, known),
        candidate=tower_spec(dataset.items, dataset, {}),
        history=dataset.history,
        index=spec,
        columns={name: write_filter(folder, name, stem) for name, stem in stems.items()},
        towers=towers,
        onnx_opset=opset if "onnx" in formats else None,
        versions=installed_versions("numpy", "onnx", "onnxruntime", "torch", "torchtowers"),
        files={},
        weights=precision.weights,
    )


def _write_index(
    folder: Path, trained: Trained, precision: Precision, columns: Mapping[str, str]
) -> IndexSpec:
    dataset = trained.dataset
    embeddings = embed_candidates(as_retrieval_model(trained.model), dataset)
    spec = IndexSpec(
        size=len(embeddings),
        dimension=embeddings.shape[1],
        metric=ExactIndex.metric,
        exact=ExactIndex.is_exact,
        embeddings="index/embeddings.npy",
        ids="index/ids",
        dtype=precision.index,
        scales="index/scales.npy" if precision.index == "int8" else None,
        rescoring="index/rescoring.npy" if precision.rescore else None,
    )
    ids = json_table(dataset.items.key, dataset.items.tokens)
    values = {
        name: json_table(f"data.columns: {name}", dataset.item_table[name].to_list()) for name in columns
    }
    with IndexWriter(folder, spec, columns) as writer:
        writer.append(IndexBlock(embeddings, ids, values))
    return spec


def _column_stems(trained: Trained) -> dict[str, str]:
    known = trained.dataset.item_table.columns
    for name in trained.config.data.columns:
        if name not in known:
            raise ExportError(f"data.columns: there is no item column {name}; there are {', '.join(known)}")
    return {name: f"columns/{name}" for name in trained.config.data.columns}
