"""Where the files of two artifacts stand in one: towers side by side, all else in a folder for each."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torchtowers.export.bill import BILLS
from torchtowers.export.errors import ExportError
from torchtowers.export.vendored import is_vendored
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.signature import FILE_NAME, SIDE, Signature, TowerSpec, sha256_of

__all__ = ["Part", "copy_part", "read_part"]


@dataclass(frozen=True)
class Part:
    """One of the two artifacts.

    Args:
        folder: Where it is.
        signature: Its signature.
    """

    folder: Path
    signature: Signature


def read_part(folder: Path, kind: str) -> Part:
    """Read one of the two artifacts and verify its files.

    Args:
        folder: Where it is.
        kind: What it has to be of.

    Raises:
        ArtifactError: It can't be read, or a file was altered.
        ExportError: It is an archive, or of another kind.
    """
    if folder.is_file():
        raise ExportError(f"{folder} is a file: give the artifact directory that the archive was built from")
    signature = Signature.read(folder)
    if signature.kind != kind:
        raise ExportError(
            f"{folder} is of a {signature.kind} model, expected a {kind} model: the retrieval artifact comes "
            "first, the ranking artifact second"
        )
    if signature.candidate is None or signature.is_fused:
        raise ExportError(f"{folder} is what an archive holds: give the artifact that it was built from")
    signature.verify_files(folder)
    return Part(folder, signature)


def copy_part(part: Part, target: Path, runtimes: Sequence[str]) -> Signature:
    """Copy an artifact's files, and give its signature with their new names and no sha256.

    Left out are the handler and its package, bills, fused files, recorded requests, and towers of other
    runtimes.

    Args:
        part: The artifact.
        target: The new artifact's folder.
        runtimes: Whose towers are taken.

    Raises:
        ArtifactError: A file was altered while it was copied.
        ExportError: A file of that name is there already.
    """
    signature = part.signature
    towers = {runtime: signature.towers[runtime] for runtime in runtimes}
    places = dict(_places(signature, towers))
    for name, place in places.items():
        path = target / place
        if path.exists():
            raise ExportError(f"both artifacts have a file {name}: export one of them again")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(part.folder / name, path)
        if sha256_of(path) != signature.files[name]:
            raise ArtifactError(f"{name} in {part.folder.name} was altered while it was copied")
    return _placed(signature, towers)


def _places(signature: Signature, towers: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Give the names of files that are taken, and what they are called then."""
    taken = {file for files in towers.values() for file in files.values()}
    taken |= {file + SIDE for file in taken}
    # Of an archive's manifest, torch-model-archiver knows only files that are not in a folder.
    left = {file for files in signature.towers.values() for file in files.values()}
    left |= {file + SIDE for file in left} | set(signature.fused.values())
    left |= {file + SIDE for file in signature.fused.values()} | {FILE_NAME, str(signature.samples)}
    for name in signature.files:
        if name in taken:
            yield name, name
        elif name not in left and not is_vendored(name, signature.kind) and not name.startswith(f"{BILLS}/"):
            yield name, f"{signature.kind}/{name}"


def _placed(signature: Signature, towers: Mapping[str, Mapping[str, str]]) -> Signature:
    folder, index = signature.kind, signature.index
    if index is not None:
        index = replace(
            index,
            embeddings=f"{folder}/{index.embeddings}",
            ids=f"{folder}/{index.ids}",
            scales=None if index.scales is None else f"{folder}/{index.scales}",
            rescoring=None if index.rescoring is None else f"{folder}/{index.rescoring}",
        )
    return replace(
        signature,
        query=_tower_in(folder, signature.query),
        candidate=None if signature.candidate is None else _tower_in(folder, signature.candidate),
        index=index,
        columns={
            name: replace(spec, text=f"{folder}/{spec.text}", filter=f"{folder}/{spec.filter}")
            for name, spec in signature.columns.items()
        },
        towers=towers,
        fused={},
        samples=None,
        onnx_opset=signature.onnx_opset if "onnx" in towers else None,
        files={},
    )


def _tower_in(folder: str, tower: TowerSpec) -> TowerSpec:
    features = [
        replace(spec, encoder={**spec.encoder, "vocabulary": f"{folder}/{spec.encoder['vocabulary']}"})
        if "vocabulary" in spec.encoder
        else spec
        for spec in tower.features
    ]
    lookup = {name: f"{folder}/{stem}" for name, stem in tower.lookup.items()}
    return replace(tower, ids=f"{folder}/{tower.ids}", features=tuple(features), lookup=lookup)
