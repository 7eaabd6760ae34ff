"""signature.json, the contract between export and serving: written and read here, and nowhere else."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torchtowers.handlers.encoders import Encoder, TensorSpec, encoder_from_json
from torchtowers.handlers.errors import ArtifactError, SignatureError, shorten
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.json_reader import JsonReader, inside
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vocabulary import Vocabulary

__all__ = [
    "FILE_NAME",
    "FORMAT_VERSION",
    "SERVED",
    "FeatureSpec",
    "Signature",
    "TowerSpec",
    "sha256_of",
]

FORMAT_VERSION = 1
FILE_NAME = "signature.json"

# By the model's kind, which of a runtime's files answers requests.
SERVED = {"retrieval": "query", "ranking": "ranker"}


def sha256_of(path: Path) -> str:
    """Give the file's sha256 in hexadecimal; memory stays small for any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class FeatureSpec:
    """One input of a tower.

    Args:
        name: The field of a request.
        dtype: `string`, `number` or `boolean`.
        shape: Of a batch of a request's values: `("batch",)`, or `("batch", "length")` for lists.
        encoder: The encoder's kind and settings, with `vocabulary` naming a file of the artifact.
        out_of_vocabulary: What becomes of a token that the vocabulary does not know.
        required: A request's row without it is refused.
    """

    name: str
    dtype: str
    shape: tuple[str, ...]
    encoder: Mapping[str, Any]
    out_of_vocabulary: str
    required: bool = False

    @property
    def vocabulary_file(self) -> str | None:
        """Where the encoder's tokens are kept, relative to the artifact."""
        name: str | None = self.encoder.get("vocabulary")
        return name

    @property
    def is_list(self) -> bool:
        """Whether a row holds a list of it."""
        return len(self.shape) > 1

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """What the feature becomes: the model's inputs."""
        return encoder_from_json(self.encoder, Vocabulary(())).tensors

    def load_encoder(self, folder: Path) -> Encoder:
        """Make the encoder with its vocabulary from the artifact in `folder`."""
        name = self.vocabulary_file
        return encoder_from_json(self.encoder, None if name is None else Vocabulary.load(folder / name))


@dataclass(frozen=True)
class TowerSpec:
    """A tower's inputs, in the order in which the ONNX and TorchScript files take them, and its id's name.

    Args:
        key: The field of a request that identifies the entity, such as `user_id`; it may be no input.
        ids: The file of the ids that are known, a vocabulary.
        features: Its inputs.
        lookup: Features that are filled in for a known key when a request leaves them out; each names
            the stem of its files in the artifact.
    """

    key: str
    ids: str
    features: tuple[FeatureSpec, ...]
    lookup: Mapping[str, str] = field(default_factory=dict)

    def files(self) -> Iterator[str]:
        """Name the files of the vocabularies and of what is looked up."""
        yield self.ids
        for spec in self.features:
            if spec.vocabulary_file is not None:
                yield spec.vocabulary_file
            if spec.name in self.lookup:
                for tensor in spec.tensors:
                    stem = self.lookup[spec.name] + tensor.suffix
                    yield from LookupColumn.files(stem, is_list=tensor.is_ragged)


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
        columns: Item columns that can be asked for, each with the stem of its files.
        towers: By runtime, then `query`, `candidate` or `ranker`: the file.
        onnx_opset: The opset of the ONNX files, if there are any.
        versions: Of Python and of the libraries that made the artifact.
        files: The sha256 of every file of the artifact but the signature.
        fused: By runtime, the file that takes raw values, if there is one.
        weights: What the files' weights are kept as: `float32`, `float16` or `int8`.
    """

    kind: str
    query: TowerSpec
    candidate: TowerSpec | None
    history: str | None
    index: IndexSpec | None
    columns: Mapping[str, str]
    towers: Mapping[str, Mapping[str, str]]
    onnx_opset: int | None
    versions: Mapping[str, str]
    files: Mapping[str, str]
    fused: Mapping[str, str] = field(default_factory=dict)
    weights: str = "float32"

    def verify_files(self, folder: Path, hashed: Mapping[str, str] | None = None) -> None:
        """Compare every file's sha256 with the signature's.

        Args:
            folder: Where the files are.
            hashed: Those of files whose content was hashed already.

        Raises:
            ArtifactError: A file is missing, unreadable or altered, or is used without a sha256; the first
                one is named.
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

    def for_serving(self, runtime: str) -> "Signature":
        """Give the signature of an archive that answers requests with one runtime only.

        Raises:
            ArtifactError: The artifact holds no file for that runtime.
        """
        if runtime not in self.towers:
            raise ArtifactError(
                f"the artifact has no {runtime} tower, only {', '.join(sorted(self.towers))}; "
                f"export it with --format {runtime}"
            )
        served = SERVED[self.kind]
        restricted = replace(
            self,
            candidate=self.candidate if self.kind == "ranking" else None,
            towers={runtime: {served: self.towers[runtime][served]}},
            fused={},
            onnx_opset=self.onnx_opset if runtime == "onnx" else None,
        )
        used = restricted.used_files()
        return replace(restricted, files={name: sha for name, sha in self.files.items() if name in used})

    def used_files(self) -> frozenset[str]:
        """Give the names of the files that the signature refers to."""
        names = {file for runtime in self.towers.values() for file in runtime.values()}
        names.update(self.fused.values())
        stems = list(self.columns.values())
        if self.index is not None:
            names.update(self.index.arrays())
            stems.append(self.index.ids)
        for stem in stems:
            names.update(StringTable.files(stem))
        for tower in filter(None, (self.query, self.candidate)):
            names.update(tower.files())
        return frozenset(names)

    def write(self, folder: Path) -> None:
        """Write signature.json into the artifact's folder."""
        (folder / FILE_NAME).write_text(self.to_text(), encoding="utf-8")

    def to_text(self) -> str:
        """Give the file's text, the same for the same content."""
        content: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "query": _tower_to_json(self.query),
            "candidate": None if self.candidate is None else _tower_to_json(self.candidate),
            "history": self.history,
            "outputs": [
                {"name": "items", "dtype": "string", "shape": ["k"]},
                {"name": "scores", "dtype": "float32", "shape": ["k"]},
            ],
            "index": None if self.index is None else vars(self.index),
            "columns": dict(self.columns),
            "towers": {runtime: dict(files) for runtime, files in self.towers.items()},
            "fused": dict(self.fused),
            "weights": self.weights,
            "onnx_opset": self.onnx_opset,
            "versions": dict(self.versions),
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "Signature":
        """Read signature.json from an artifact's folder and check its form wholly.

        Raises:
            SignatureError: It is missing, malformed, or of a format version unknown to this code.
        """
        path = folder / FILE_NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise SignatureError(f"{folder} holds no {FILE_NAME}; it is not an artifact") from error
        except (OSError, ValueError, RecursionError) as error:
            raise SignatureError(f"{path} can't be read: {error}") from error
        return cls.from_json(content)

    @classmethod
    def from_json(cls, content: Any) -> "Signature":
        """Make a signature from its parsed JSON.

        Raises:
            SignatureError: It is malformed, or of a format version unknown to this code.
        """
        reader = JsonReader(content, "signature")
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
        candidate = reader.get("candidate", dict) if kind == "ranking" else reader.optional("candidate", dict)
        return cls(
            kind=kind,
            query=_tower_from_json(reader.child("query")),
            candidate=None if candidate is None else _tower_from_json(reader.child("candidate")),
            history=reader.optional("history", str),
            index=IndexSpec.from_json(reader.child("index")) if kind == "retrieval" else None,
            columns=reader.child("columns").paths(),
            towers={
                name: _files_of(files, SERVED[kind])
                for name, files in reader.child("towers").children().items()
            },
            fused=reader.child("fused").paths(),
            weights=reader.get("weights", str),
            onnx_opset=reader.optional("onnx_opset", int),
            versions=reader.child("versions").strings(),
            files={inside(name): sha for name, sha in reader.child("files").strings().items()},
        )


def _files_of(reader: JsonReader, served: str) -> dict[str, str]:
    reader.path(served)
    return reader.paths()


def _tower_to_json(tower: TowerSpec) -> dict[str, Any]:
    features = [
        {**vars(spec), "shape": list(spec.shape), "encoder": dict(spec.encoder)} for spec in tower.features
    ]
    return {"key": tower.key, "ids": tower.ids, "features": features, "lookup": dict(tower.lookup)}


def _tower_from_json(reader: JsonReader) -> TowerSpec:
    features = []
    for position, content in enumerate(reader.get("features", list)):
        feature = JsonReader(content, f"{reader.place}.features[{position}]")
        encoder = feature.child("encoder")
        if encoder.optional("vocabulary", str) is not None:
            encoder.path("vocabulary")
        features.append(
            FeatureSpec(
                name=feature.get("name", str),
                dtype=feature.get("dtype", str),
                shape=tuple(feature.get("shape", list)),
                encoder=encoder.content,
                out_of_vocabulary=feature.get("out_of_vocabulary", str),
                required=feature.get("required", bool),
            )
        )
    return TowerSpec(
        reader.get("key", str), reader.path("ids"), tuple(features), reader.child("lookup").paths()
    )
