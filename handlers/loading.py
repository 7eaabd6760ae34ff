"""What loading has in common for every kind of model: which file of an artifact or archive answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.kinds import SERVED
from torchtowers.handlers.seal import MANIFEST, read_manifest, verify_members
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_spec import TowerSpec

__all__ = ["Served", "find_served"]


@dataclass(frozen=True)
class Served:
    """What answers requests.

    Args:
        signature: Of an archive that holds only that.
        runtime: What its file runs in.
    """

    signature: Signature
    runtime: str

    @property
    def index(self) -> IndexSpec:
        """A retrieval model's index.

        Raises:
            ArtifactError: There is none.
        """
        if self.signature.index is None:
            raise ArtifactError("the signature of a retrieval model has no index; export it again")
        return self.signature.index

    @property
    def candidate(self) -> TowerSpec:
        """What a ranking model takes of each candidate.

        Raises:
            ArtifactError: There is nothing.
        """
        if self.signature.candidate is None:
            raise ArtifactError("the signature of a ranking model has no candidate inputs; export it again")
        return self.signature.candidate


def find_served(folder: Path, signature: Signature, *, kind: str, runtime: str | None = None) -> Served:
    """Verify an artifact's files and tell which one answers requests.

    Args:
        folder: An artifact's folder, or an unpacked archive.
        signature: Its signature.
        kind: What kind of model it has to be.
        runtime: `torchscript`, `onnx` or `pt2`; by default that of the file which an archive's manifest
            names, else the only one there is, else `onnx`.

    Raises:
        ArtifactError: It is of another kind, or a file is missing, altered or malformed.
    """
    if signature.kind != kind:
        raise ArtifactError(f"expected a {kind} model, got one of kind {signature.kind!r}")
    signature.verify_files(folder, verify_members(folder))
    packaged, fused = _packaged(folder, signature)
    runtime = runtime or packaged
    return Served(signature.for_serving(runtime, fused=fused), runtime)


def _packaged(folder: Path, signature: Signature) -> tuple[str, bool]:
    """Give the runtime of what is packaged to answer, and whether that is a fused file."""
    (served,) = SERVED[signature.kind]
    manifest = folder / MANIFEST
    if manifest.is_file():
        # torch-model-archiver packages the files of all runtimes, and --serialized-file chooses.
        model = read_manifest(manifest.read_bytes()).get("model")
        chosen: Any = model.get("serializedFile") if isinstance(model, dict) else None
        for runtime, files in signature.towers.items():
            if files.get(served) == chosen:
                return runtime, False
        for runtime, file in signature.fused.items():
            if file == chosen:
                return runtime, True
    held = signature.fused if signature.is_fused else signature.towers
    return "onnx" if "onnx" in held else next(iter(held), "onnx"), signature.is_fused
