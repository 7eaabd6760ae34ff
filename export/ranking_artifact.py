"""What the artifact of a ranking model holds: the model, and the features of known users and items."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torchtowers.export.formats import FORMATS, export_module
from torchtowers.export.precision import Precision
from torchtowers.export.tower_inputs import ranking_query, tower_spec, write_lookup, write_vocabularies
from torchtowers.handlers.signature import Signature
from torchtowers.models.experiment import Trained
from torchtowers.models.versions import installed_versions

__all__ = ["write_ranking"]


def write_ranking(
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
        lookup: Whether known users' and items' features are kept.
        precision: What the model's weights are.
        log: Told what is done, a line each.

    Raises:
        ExportError: The model can't be exported.
    """
    dataset, model = trained.dataset, trained.model.eval()
    towers: dict[str, dict[str, str]] = {}
    for name in formats:
        log(f"exporting {name}")
        towers[name] = {"ranker": f"ranker.{FORMATS[name]}"}
        export_module(name, model, dataset.encoders, folder / towers[name]["ranker"], opset=opset)
    write_vocabularies(folder, dataset)
    users = write_lookup(folder, dataset.users, dataset) if lookup else {}
    items = write_lookup(folder, dataset.items, dataset) if lookup else {}
    return Signature(
        kind="ranking",
        query=tower_spec(ranking_query(dataset), dataset, users),
        candidate=tower_spec(dataset.items, dataset, items),
        history=dataset.history,
        index=None,
        columns={},
        towers=towers,
        onnx_opset=opset if "onnx" in formats else None,
        versions=installed_versions("numpy", "onnx", "onnxruntime", "torch", "torchtowers"),
        files={},
        weights=precision.weights,
    )
