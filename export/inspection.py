"""What is in an archive, whoever built it, as plain values: to be shown, to be compared."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from torchtowers.export.archive import BILL
from torchtowers.export.opened import Entry, open_archive
from torchtowers.export.signing import signature_of
from torchtowers.export.verify import manifest_of
from torchtowers.handlers.combined_signature import AnySignature, CombinedSignature, any_signature
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.kinds import SERVED
from torchtowers.handlers.seal import MANIFEST_SIGNATURE
from torchtowers.handlers.signature import FILE_NAME, TowerSpec, sha256_of

__all__ = ["difference", "inspect_archive", "one_line", "shown"]

Content = dict[str, Any]


def inspect_archive(path: str | Path) -> Content:
    """Describe an archive; what it claims is not verified.

    Args:
        path: A `.mar`, a `.tar.gz` or a directory.

    Returns:
        Plain values, to be written as JSON. `model`, `kind`, `features`, `index`, `versions`, `config` and
        others are there where the archive tells of them, `members` always.

    Raises:
        ArtifactError: It can't be read, or is no archive of a model.
    """
    path = Path(path)
    with open_archive(path) as archive:
        files = archive.files
        manifest = manifest_of(files)
        content: Content = {"archive": path.name, "form": archive.form}
        if archive.form != "folder":
            content |= {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        content |= {key: manifest.get(key) for key in ("model", "runtime", "createdOn", "archiverVersion")}
        content |= _signed(path, files)
        if FILE_NAME in files:
            content |= _of_signature(any_signature(_json(files[FILE_NAME])))
        if BILL in files:
            bill = _json(files[BILL])
            found = bill.get("components", []) if isinstance(bill, dict) else []
            content["packages"] = {str(entry.get("name")): entry.get("version") for entry in found}
        content["config"] = _config(manifest, files)
        content["members"] = {
            name: {"bytes": entry.size, "sha256": entry.sha256()} for name, entry in sorted(files.items())
        }
    return content


def difference(first: Content, second: Content) -> dict[str, tuple[Any, Any]]:
    """Compare two descriptions, place by place.

    Returns:
        By place, such as `features.query.age.encoder.kind`, the values of both; None where one has none. The
        archives' own names, sizes and hashes are no difference of content.
    """
    flat = [_flat(description) for description in (first, second)]
    places = sorted({place for part in flat for place in part})
    return {
        place: (flat[0].get(place), flat[1].get(place))
        for place in places
        if flat[0].get(place) != flat[1].get(place)
    }


def _flat(description: Content) -> dict[str, Any]:
    flat: dict[str, Any] = {}

    def visit(place: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, below in value.items():
                visit(f"{place}.{key}" if place else str(key), below)
        else:
            flat[place] = value

    kept = {key: value for key, value in description.items() if key not in _OWN}
    members = kept.pop("members")
    visit("", kept)
    # A member is one place: it is there, or another.
    return flat | {f"members.{name}": member for name, member in members.items()}


_OWN = ("archive", "form", "bytes", "sha256")


def _of_signature(signature: AnySignature) -> Content:
    if isinstance(signature, CombinedSignature):
        return {
            "kind": signature.kind,
            "candidates": signature.candidates,
            **{kind: _of_signature(part) for kind, part in signature.parts.items()},
            "versions": dict(signature.versions),
        }
    towers = {"query": signature.query, "candidate": signature.candidate}
    return {
        "kind": signature.kind,
        "towers": {name: dict(files) for name, files in signature.towers.items()},
        "fused": dict(signature.fused),
        "features": {side: _features(tower) for side, tower in towers.items() if tower is not None},
        "history": signature.history,
        "index": None if signature.index is None else vars(signature.index),
        "columns": sorted(signature.columns),
        "weights": signature.weights,
        "onnx_opset": signature.onnx_opset,
        "versions": dict(signature.versions),
    }


def _features(tower: TowerSpec) -> Content:
    return {
        spec.name: {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "encoder": dict(spec.encoder),
            "out_of_vocabulary": spec.out_of_vocabulary,
            "required": spec.required,
            "looked_up": spec.name in tower.lookup,
        }
        for spec in tower.features
    }


def _config(manifest: Content, files: Mapping[str, Entry]) -> Any:
    model = manifest.get("model")
    named = model.get("configFile") if isinstance(model, dict) else None
    entry = files.get(str(named))
    try:
        return None if entry is None else yaml.safe_load(entry.read())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{named} is no YAML: {' '.join(str(error).split())}") from error


def _signed(path: Path, files: Mapping[str, Entry]) -> Content:
    """Name the keys that claim to have signed, of the manifest and of the file."""
    signed: Content = {}
    if MANIFEST_SIGNATURE in files:
        signed["manifest_signed_by"] = _key(files[MANIFEST_SIGNATURE].read(), MANIFEST_SIGNATURE)
    beside = signature_of(path)
    if beside.is_file():
        signed["file_signed_by"] = _key(beside.read_bytes(), beside.name)
    return signed


def _key(text: bytes, name: str) -> Any:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is no JSON: {error}") from error
    return content.get("key") if isinstance(content, dict) else None


def _json(entry: Entry) -> Any:
    try:
        return json.loads(entry.read())
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{entry.name} is no JSON: {error}") from error


def one_line(value: Any) -> str:
    """Show a value in a cell of a table."""
    if value is None:
        return "-"
    if isinstance(value, Mapping) and value.keys() == {"bytes", "sha256"}:
        return f"{value['bytes']:,} bytes, sha256 {value['sha256'][:12]}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def shown(description: Content) -> list[list[str]]:
    """Give a table of a description for people, one row a place."""
    kept = {key: value for key, value in description.items() if key != "members" and value is not None}
    # Of an archive of two models, each has what is else told of one.
    rows = [row for key, value in kept.items() for row in _rows(key, value, 1 + (key in SERVED))]
    return rows + [[f"members.{name}", one_line(member)] for name, member in description["members"].items()]


def _rows(place: str, value: Any, depth: int) -> Iterator[list[str]]:
    if place.endswith(("features.query", "features.candidate")):
        for name, feature in value.items():
            yield [f"{place}.{name}", f"{feature['dtype']}, {feature['encoder'].get('kind', '')}"]
    elif isinstance(value, Mapping) and value and depth:
        for name, part in value.items():
            yield from _rows(f"{place}.{name}", part, depth - 1)
    else:
        yield [place, one_line(value)]
