"""signature.json of two models that answer together: a retrieval model finds what a ranking model ranks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from torchtowers.handlers.errors import ArtifactError, SignatureError
from torchtowers.handlers.json_reader import JsonReader, inside
from torchtowers.handlers.signature import FILE_NAME, FORMAT_VERSION, Signature, kind_of, read_content

__all__ = ["AnySignature", "CombinedSignature", "any_signature", "read_signature"]

# What each of the two models' content does not say by itself.
_SHARED = ("format_version", "files")


@dataclass(frozen=True)
class CombinedSignature:
    """All that serving has to know of two models in one artifact.

    Args:
        retrieval: The retrieval model's signature; its files' names are those of this artifact, and it has
            the sha256 of all files.
        ranking: The ranking model's, likewise.
        candidates: Items that are found and ranked, where neither a request nor the server says how many.
        item_rows: The file that has for each item of the index its row among those that the ranking model
            knows, or -1; int64 `[items]`.
        item_ids: The file of what the ranking model's encoder gives of each item's id, int64 `[items]`; None
            where the id is no feature of the model.
        versions: Of Python and of the libraries that made the artifact.
        files: The sha256 of every file of the artifact but the signature.
        samples: The file of recorded requests and their answers, if there is one.
    """

    kind: ClassVar[str] = "recommendation"
    is_fused: ClassVar[bool] = False

    retrieval: Signature
    ranking: Signature
    candidates: int
    item_rows: str
    item_ids: str | None
    versions: Mapping[str, str]
    files: Mapping[str, str]
    samples: str | None = None

    @property
    def parts(self) -> Mapping[str, Signature]:
        """Both models' signatures, by their kinds."""
        return {part.kind: part for part in (self.retrieval, self.ranking)}

    @property
    def towers(self) -> Mapping[str, Mapping[str, str]]:
        """By runtime, then `query`, `candidate` or `ranker`: the file."""
        return {
            runtime: {**files, **self.ranking.towers[runtime]}
            for runtime, files in self.retrieval.towers.items()
            if runtime in self.ranking.towers
        }

    @property
    def fused(self) -> Mapping[str, str]:
        """No file holds both models."""
        return {}

    @property
    def served_file(self) -> str:
        """The file that an archive's manifest names: the query tower's."""
        return self.retrieval.served_file

    def used_files(self) -> frozenset[str]:
        """Give the names of the files that the signature refers to."""
        own = filter(None, (self.item_rows, self.item_ids, self.samples))
        return self.retrieval.used_files() | self.ranking.used_files() | frozenset(own)

    def with_files(self, files: Mapping[str, str]) -> "CombinedSignature":
        """Give the signature with other sha256, of which each model's has all."""
        return replace(
            self,
            retrieval=replace(self.retrieval, files=files),
            ranking=replace(self.ranking, files=files),
            files=files,
        )

    def verify_files(self, folder: Path, hashed: Mapping[str, str] | None = None) -> None:
        """Compare every file's sha256 with the signature's; the arguments are those of `Signature`'s.

        Raises:
            ArtifactError: A file is missing, unreadable or altered, or is used without a sha256.
        """
        unlisted = self.used_files() - self.files.keys()
        if unlisted:
            raise SignatureError(f"signature.json has no sha256 for {min(unlisted)}; combine the two again")
        self.retrieval.verify_files(folder, hashed)
        # The first one's has hashed all files.
        self.ranking.verify_files(folder, self.files)

    def for_serving(self, runtime: str, *, fused: bool = False) -> "CombinedSignature":
        """Give the signature of an archive that answers in one runtime only.

        Args:
            runtime: What both files run in.
            fused: Has to be False.

        Raises:
            ArtifactError: The artifact holds no such file.
        """
        if fused:
            raise ArtifactError("no fused file holds two models: build without --fused")
        restricted = replace(
            self,
            retrieval=self.retrieval.for_serving(runtime),
            ranking=self.ranking.for_serving(runtime),
        )
        used = restricted.used_files()
        return restricted.with_files({name: sha for name, sha in self.files.items() if name in used})

    def write(self, folder: Path) -> None:
        """Write signature.json into the artifact's folder."""
        (folder / FILE_NAME).write_text(self.to_text(), encoding="utf-8")

    def to_text(self) -> str:
        """Give the file's text, the same for the same content."""
        content: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "candidates": self.candidates,
            "item_rows": self.item_rows,
            "item_ids": self.item_ids,
            **{
                kind: {name: value for name, value in part.to_json().items() if name not in _SHARED}
                for kind, part in self.parts.items()
            },
            "samples": self.samples,
            "versions": dict(self.versions),
            "files": dict(sorted(self.files.items())),
        }
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "CombinedSignature":
        """Read signature.json from an artifact's folder and check its form wholly.

        Raises:
            SignatureError: It is missing, malformed, or not of two models.
        """
        return cls.from_json(read_content(folder))

    @classmethod
    def from_json(cls, content: Any) -> "CombinedSignature":
        """Make a signature from its parsed JSON.

        Raises:
            SignatureError: It is malformed, or not of two models.
        """
        reader = JsonReader(content, "signature")
        kind = kind_of(reader)
        if kind != cls.kind:
            raise SignatureError(
                f"expected a {cls.kind} model, got one of kind {kind!r}; `torchtowers export combine` makes "
                "one of a retrieval and a ranking model"
            )
        candidates = reader.get("candidates", int)
        if candidates < 1:
            raise SignatureError(
                f"signature.candidates in signature.json: expected at least 1, got {candidates}"
            )
        files = {inside(name): sha for name, sha in reader.child("files").strings().items()}
        optional = {
            name: None if reader.optional(name, str) is None else reader.path(name)
            for name in ("item_ids", "samples")
        }
        return cls(
            retrieval=_part(reader, "retrieval", files),
            ranking=_part(reader, "ranking", files),
            candidates=candidates,
            item_rows=reader.path("item_rows"),
            versions=reader.child("versions").strings(),
            files=files,
            **optional,
        )


AnySignature: TypeAlias = Signature | CombinedSignature


def read_signature(folder: Path) -> AnySignature:
    """Read signature.json of an artifact of any kind.

    Raises:
        SignatureError: It is missing or malformed.
    """
    return any_signature(read_content(folder))


def any_signature(content: Any) -> AnySignature:
    """Make the signature of a model of any kind from its parsed JSON.

    Raises:
        SignatureError: It is malformed.
    """
    if kind_of(JsonReader(content, "signature")) == CombinedSignature.kind:
        return CombinedSignature.from_json(content)
    return Signature.from_json(content)


def _part(reader: JsonReader, kind: str, files: Mapping[str, str]) -> Signature:
    part = reader.child(kind)
    if part.get("kind", str) != kind:
        raise SignatureError(f"{part.place} in signature.json is of a model of another kind")
    return Signature.from_json({**part.content, "format_version": FORMAT_VERSION, "files": files})
