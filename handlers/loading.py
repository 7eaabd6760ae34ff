"""What loading has in common for every kind of model."""

from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.runtime import Tower, load_tower
from torchtowers.handlers.seal import MANIFEST, read_manifest, verify_members
from torchtowers.handlers.signature import SERVED, Signature

__all__ = ["load_served"]


def load_served(
    folder: Path,
    signature: Signature,
    *,
    kind: str,
    runtime: str | None,
    gpu_id: int | None,
    threads: int | None,
) -> Tower:
    """Verify an artifact's files and load the one that answers requests.

    Args:
        folder: An artifact's folder, or an unpacked archive.
        signature: Its signature.
        kind: What kind of model it has to be.
        runtime: `torchscript` or `onnx`; by default that of the file which an archive's manifest names,
            else the only one there is, else `onnx`.
        gpu_id: The CUDA device; None for the CPU.
        threads: Threads of one operation on the CPU.

    Raises:
        ArtifactError: It is of another kind, or a file is missing, altered or malformed.
        RuntimeUnavailableError: The runtime's library is not installed.
    """
    if signature.kind != kind:
        raise ArtifactError(f"expected a {kind} model, got one of kind {signature.kind!r}")
    signature.verify_files(folder, verify_members(folder))
    runtime = runtime or _packaged_runtime(folder, signature)
    file = signature.for_serving(runtime).towers[runtime][SERVED[kind]]
    return load_tower(runtime, folder / file, gpu_id=gpu_id, threads=threads)


def _packaged_runtime(folder: Path, signature: Signature) -> str:
    served = SERVED[signature.kind]
    manifest = folder / MANIFEST
    if manifest.is_file():
        # torch-model-archiver packages the files of all runtimes, and --serialized-file chooses.
        model = read_manifest(manifest.read_bytes()).get("model")
        chosen: Any = model.get("serializedFile") if isinstance(model, dict) else None
        for runtime, files in signature.towers.items():
            if files.get(served) == chosen:
                return runtime
    return "onnx" if "onnx" in signature.towers else next(iter(signature.towers), "onnx")
