"""signature.json, the contract between export and serving: written and read here, and nowhere else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torchtowers.handlers.column_spec import ColumnSpec
from torchtowers.handlers.errors import ArtifactError, SignatureError, shorten
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.json_reader import JsonReader, inside
from torchtowers.handlers.kinds import SERVED
from torchtowers.handlers.onnx_file import check_side_files
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.tower_spec import FeatureSpec, TowerSpec, tower_from_json, tower_to_json

__all__ = [
    "FILE_NAME",
    "FORMAT_VERSION",
    "SIDE",
    "FeatureSpec",
    "Signature",
    "TowerSpec",
    "kind_of",
    "read_content",
    "sha256_of",
]

FORMAT_VERSION = 1
FILE_NAME = "signature.json"
# Behind an ONNX file's name, that of the file with its weights, where they are too large for it.
SIDE = ".data"


def sha256_of(path: Path) -> str:
    """Give the file's sha256 in hexadecimal; memory stays small for any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Signature:
    """All that serving has to know of an artifact.

    Args:
        kind: The model's kind: `retrieval` or `ranking`.
        query: The query tower's inputs; of a ranking model, those that a request's row has once.
        candidate: The candidate tower's inputs, or those that a ranking model takes of each candidate; None
            in an archive that holds no candidate tower.
        history: The query feature that lists items which the user already knows, if there is one.
        index: The candidates of a retrieval model.
        columns: Item columns that can be asked for and filtered by.
        towers: By runtime, then `query`, `candidate` or `ranker`: the file.
        onnx_opset: The opset of the ONNX files, if there are any.
        versions: Of Python and of the libraries that made the artifact.
        files: The sha256 of every file of the artifact but the signature.
        fused: By runtime, the file that takes raw values, if there is one.
        weights: What the files' weights are kept as: `float32`, `float16` or `int8`.
        samples: The file of recorded requests and their answers, if there is one.
    """

    kind: str
    query: TowerSpec
    candidate: TowerSpec | None
    history: str | None
    index: IndexSpec | None
    columns: Mapping[str, ColumnSpec]
    towers: Mapping[str, Mapping[str, str]]
    onnx_opset: int | None
    versions: Mapping[str, str]
    files: Mapping[str, str]
    fused: Mapping[str, str] = field(default_factory=dict)
    weights: str = "float32"
    samples: str | None = None

    def verify_files(self, folder: Path, hashed: Mapping[str, str] | None = None) -> None:
        """Compare every file's sha256 with the signature's.

        Args:
            folder: Where the files are.
            hashed: Those of files whose content was hashed already.

        Raises:
            ArtifactError: A file is missing, unreadable or altered, or is used without a sha256, also by an
                ONNX file; the first one is named.
        """
        unlisted = self.used_files() - self.files.keys()
        if unlisted:
            raise SignatureError(f"signature.json has no sha256 for {min(unlisted)}; export it again")
        for name, expected in self.files.items():
            path = folder / name
            try:
                found = (hashed or {}).get(name) or (sha256_of(path) if path.is_file() else None)
            except OSError as error:
                raise ArtifactError(
                    f"{name} in {folder.name} can't be read ({error.strerror}): let this user read it, or "
                    "export it again"
                ) from error
            if found is None:
                raise ArtifactError(f"{name} is missing from {folder.name}; export or build it again")
            if found != expected:
                raise ArtifactError(f"{name} in {folder.name} was altered: its sha256 is not the signature's")
        for name in self.used_files():
            if name.endswith(".onnx"):
                check_side_files(folder, name, self.files)

    @property
    def is_fused(self) -> bool:
        """Whether it is of an archive in which a fused file answers alone."""
        return bool(self.fused) and not self.towers

    @property
    def served_file(self) -> str:
        """The file that answers, of an archive's signature."""
        if self.is_fused:
            (file,) = self.fused.values()
        else:
            (files,) = self.towers.values()
            file = files[SERVED[self.kind][0]]
        return file

    def for_serving(self, runtime: str, *, fused: bool = False) -> "Signature":
        """Give the signature of an archive that answers requests with one file only.

        Args:
            runtime: What the file runs in.
            fused: Whether it is the fused file, which holds the encoders, the index and what is known of
                users and items; an item of a ranking request is then known by its id alone.

        Raises:
            ArtifactError: The artifact holds no such file.
        """
        what, held = ("fused file", self.fused) if fused else ("tower", self.towers)
        if runtime not in held:
            raise ArtifactError(
                f"the artifact has no {runtime} {what}, only {', '.join(sorted(held)) or 'none'}; "
                f"export it with --format {runtime}{' --fused' if fused else ''}"
            )
        (served,) = SERVED[self.kind]
        candidate = self.candidate if self.kind == "ranking" else None
        if fused and candidate is not None:
            candidate = replace(candidate, features=(), lookup={})
        restricted = replace(
            self,
            candidate=candidate,
            towers={} if fused else {runtime: {served: self.towers[runtime][served]}},
            fused={runtime: self.fused[runtime]} if fused else {},
            onnx_opset=self.onnx_opset if runtime == "onnx" else None,
        )
        used = restricted.used_files()
        return replace(restricted, files={name: sha for name, sha in self.files.items() if name in used})

    def used_files(self) -> frozenset[str]:
        """Give the names of the files that the signature refers to."""
        names = {file for runtime in self.towers.values() for file in runtime.values()}
        names.update(self.fused.values())
        # Weights of a large ONNX file, which are beside it.
        names.update(self.files.keys() & {name + SIDE for name in names})
        names.update(filter(None, (self.samples,)))
        for column in self.columns.values():
            names.update(column.files())
        if self.index is not None:
            names.update(TokenTable.files(self.index.ids))
        if not self.is_fused:
            if self.index is not None:
                names.update(self.index.arrays())
            for tower in filter(None, (self.query, self.candidate)):
                names.update(tower.files())
        return frozenset(names)

    def with_files(self, files: Mapping[str, str]) -> "Signature":
        """Give the signature with other sha256."""
        return replace(self, files=files)

    def write(self, folder: Path) -> None:
        """Write signature.json into the artifact's folder."""
        (folder / FILE_NAME).write_text(self.to_text(), encoding="utf-8")

    def to_text(self) -> str:
        """Give the file's text, the same for the same content."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Give the file's content."""
        return {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "query": tower_to_json(self.query),
            "candidate": None if self.candidate is None else tower_to_json(self.candidate),
            "history": self.history,
            "outputs": [
                {"name": "items", "dtype": "string", "shape": ["k"]},
                {"name": "scores", "dtype": "float32", "shape": ["k"]},
            ],
            "index": None if self.index is None else vars(self.index),
            "columns": {name: column.to_json() for name, column in self.columns.items()},
            "towers": {runtime: dict(files) for runtime, files in self.towers.items()},
            "fused": dict(self.fused),
            "weights": self.weights,
            "samples": self.samples,
            "onnx_opset": self.onnx_opset,
            "versions": dict(self.versions),
            "files": dict(sorted(self.files.items())),
        }

    @classmethod
    def read(cls, folder: Path) -> "Signature":
        """Read signature.json from an artifact's folder and check its form wholly.

        Raises:
            SignatureError: It is missing, malformed, or of a format version unknown to this code.
        """
        return cls.from_json(read_content(folder))

    @classmethod
    def from_json(cls, content: Any) -> "Signature":
        """Make a signature from its parsed JSON.

        Raises:
            SignatureError: It is malformed, or of a format version unknown to this code.
        """
        reader = JsonReader(content, "signature")
        kind = kind_of(reader)
        if len(SERVED[kind]) > 1:
            raise SignatureError(f"signature.json is of two models ({kind}), expected that of one")
        candidate = reader.get("candidate", dict) if kind == "ranking" else reader.optional("candidate", dict)
        return cls(
            kind=kind,
            query=tower_from_json(reader.child("query")),
            candidate=None if candidate is None else tower_from_json(reader.child("candidate")),
            history=reader.optional("history", str),
            index=IndexSpec.from_json(reader.child("index")) if kind == "retrieval" else None,
            columns={
                name: ColumnSpec.from_json(column)
                for name, column in reader.child("columns").children().items()
            },
            towers={
                name: _files_of(files, SERVED[kind][0])
                for name, files in reader.child("towers").children().items()
            },
            fused=reader.child("fused").paths(),
            weights=reader.get("weights", str),
            samples=None if reader.optional("samples", str) is None else reader.path("samples"),
            onnx_opset=reader.optional("onnx_opset", int),
            versions=reader.child("versions").strings(),
            files={inside(name): sha for name, sha in reader.child("files").strings().items()},
        )


def read_content(folder: Path) -> Any:
    """Parse signature.json of an artifact's folder.

    Raises:
        SignatureError: It is missing or no JSON.
    """
    path = folder / FILE_NAME
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SignatureError(f"{folder} holds no {FILE_NAME}; it is not an artifact") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SignatureError(f"{path} can't be read: {error}") from error


def kind_of(reader: JsonReader) -> str:
    """Give the model's kind, of a signature whose form this code knows.

    Raises:
        SignatureError: It is malformed, or of a format version or a kind unknown to this code.
    """
    version = reader.get("format_version", int)
    if version != FORMAT_VERSION:
        raise SignatureError(
            f"signature.json is of format version {version}, this code reads {FORMAT_VERSION}; "
            "serve it with the torchtowers version that exported it, or export it again"
        )
    kind = reader.get("kind", str)
    if kind not in SERVED:
        raise SignatureError(
            f"signature.json is of a model of kind {shorten(kind)}, this code knows {', '.join(SERVED)}; "
            "serve it with the torchtowers version that exported it"
        )
    return kind


def _files_of(reader: JsonReader, served: str) -> dict[str, str]:
    reader.path(served)
    return reader.paths()
