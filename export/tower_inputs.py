"""What the signature and the artifact's files say of a model's inputs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchtowers.data.dataset import Dataset
from torchtowers.data.features import EntityTable
from torchtowers.data.ragged import Ragged
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.signature import FeatureSpec, TowerSpec
from torchtowers.handlers.vocabulary import Vocabulary

__all__ = ["ranking_query", "tower_spec", "write_lookup", "write_vocabularies"]


def ranking_query(dataset: Dataset) -> EntityTable:
    """Give what a ranking request's row has once: the users' features, and those of the context."""
    return replace(dataset.users, encoders={**dataset.users.encoders, **dataset.context_encoders})


def write_vocabularies(folder: Path, dataset: Dataset) -> None:
    """Write `encoders/`."""
    for stem, vocabulary in _vocabulary_stems(dataset).items():
        vocabulary.save(folder, stem)


def write_lookup(folder: Path, table: EntityTable, dataset: Dataset) -> dict[str, str]:
    """Write the features of known entities and give their files' stems, by feature."""
    stems = {}
    for name, encoder in table.encoders.items():
        if name == table.key or name not in table.columns:
            continue
        stems[name] = f"lookup/{name}"
        for spec in encoder.tensors:
            column = table.columns[name + spec.suffix]
            if name == dataset.history and dataset.full_history is not None:
                column = dataset.full_history
            known = (
                LookupColumn(column.values, column.offsets)
                if isinstance(column, Ragged)
                else LookupColumn(column, None)
            )
            known.save(folder, stems[name] + spec.suffix)
    return stems


def tower_spec(table: EntityTable, dataset: Dataset, lookup: Mapping[str, str]) -> TowerSpec:
    """Describe a tower's inputs.

    Args:
        table: Its entities.
        dataset: Tells the vocabularies.
        lookup: As `write_lookup` gives it.
    """
    features = []
    stems = {id(vocabulary): stem for stem, vocabulary in _vocabulary_stems(dataset).items()}
    for name, encoder in table.encoders.items():
        description: dict[str, Any] = encoder.to_json()
        if hasattr(encoder, "vocabulary"):
            description["vocabulary"] = stems[id(encoder.vocabulary)]
        features.append(
            FeatureSpec(
                name=name,
                dtype=encoder.dtype,
                shape=("batch", "length") if encoder.is_list else ("batch",),
                encoder=description,
                out_of_vocabulary=encoder.out_of_vocabulary,
                required=name == table.key,
            )
        )
    return TowerSpec(table.key, f"encoders/{table.key}", tuple(features), lookup)


def _vocabulary_stems(dataset: Dataset) -> dict[str, Vocabulary]:
    """Name the files of each vocabulary: the ids', and those of features that have another one."""
    stems = {f"encoders/{table.key}": table.ids for table in (dataset.users, dataset.items)}
    written = {id(vocabulary) for vocabulary in stems.values()}
    for name, encoder in dataset.encoders.items():
        vocabulary = getattr(encoder, "vocabulary", None)
        if vocabulary is not None and id(vocabulary) not in written:
            # Of an id, the ones that are frequent; no feature's name has a dot in it.
            stem = f"encoders/{name}"
            stems[stem if stem not in stems else f"encoders/{name}.frequent"] = vocabulary
            written.add(id(vocabulary))
    return stems
