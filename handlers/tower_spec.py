"""A tower's inputs, as a signature describes them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchtowers.handlers.encoders import Encoder, TensorSpec, encoder_from_json
from torchtowers.handlers.json_reader import JsonReader
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vocabulary import Vocabulary

__all__ = ["FeatureSpec", "TowerSpec", "tower_from_json", "tower_to_json"]


@dataclass(frozen=True)
class FeatureSpec:
    """One input of a tower.

    Args:
        name: The field of a request.
        dtype: `string`, `number` or `boolean`.
        shape: Of a batch of a request's values: `("batch",)`, or `("batch", "length")` for lists.
        encoder: The encoder's kind and settings, with `vocabulary` naming the stem of files of the artifact.
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
    def vocabulary(self) -> str | None:
        """The stem of the files of the encoder's tokens, relative to the artifact."""
        name: str | None = self.encoder.get("vocabulary")
        return name

    @property
    def is_list(self) -> bool:
        """Whether a row holds a list of it."""
        return len(self.shape) > 1

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """What the feature becomes: the model's inputs."""
        return self.load_encoder(None).tensors

    def load_encoder(self, folder: Path | None) -> Encoder:
        """Make the encoder with its vocabulary from the artifact in `folder`; without one it only checks."""
        name = self.vocabulary
        if folder is None:
            return encoder_from_json(self.encoder, Vocabulary(()))
        return encoder_from_json(self.encoder, None if name is None else Vocabulary.load(folder, name))


@dataclass(frozen=True)
class TowerSpec:
    """A tower's inputs, in the order in which the ONNX and TorchScript files take them, and its id's name.

    Args:
        key: The field of a request that identifies the entity, such as `user_id`; it may be no input.
        ids: The stem of the files of the ids that are known, a vocabulary.
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
        yield from TokenTable.files(self.ids)
        for spec in self.features:
            if spec.vocabulary is not None:
                yield from TokenTable.files(spec.vocabulary)
            if spec.name in self.lookup:
                for tensor in spec.tensors:
                    stem = self.lookup[spec.name] + tensor.suffix
                    yield from LookupColumn.files(stem, is_list=tensor.is_ragged)


def tower_to_json(tower: TowerSpec) -> dict[str, Any]:
    """Describe a tower's inputs for signature.json."""
    features = [
        {**vars(spec), "shape": list(spec.shape), "encoder": dict(spec.encoder)} for spec in tower.features
    ]
    return {"key": tower.key, "ids": tower.ids, "features": features, "lookup": dict(tower.lookup)}


def tower_from_json(reader: JsonReader) -> TowerSpec:
    """Make what `tower_to_json` described.

    Raises:
        SignatureError: It is malformed.
    """
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
