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
    (folder / "encoders").mkdir()
    for name, vocabulary in _vocabulary_files(dataset).items():
        vocabulary.save(folder / name)


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
    files = {id(vocabulary): file for file, vocabulary in _vocabulary_files(dataset).items()}
    for name, encoder in table.encoders.items():
        description: dict[str, Any] = encoder.to_json()
        if hasattr(encoder, "vocabulary"):
            description["vocabulary"] = files[id(encoder.vocabulary)]
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
    return TowerSpec(table.key, f"encoders/{table.key}.json", tuple(features), lookup)


def _vocabulary_files(dataset: Dataset) -> dict[str, Vocabulary]:
    """Name a file for each vocabulary: the ids', and those of features that have another one."""
    files = {f"encoders/{table.key}.json": table.ids for table in (dataset.users, dataset.items)}
    written = {id(vocabulary) for vocabulary in files.values()}
    for name, encoder in dataset.encoders.items():
        vocabulary = getattr(encoder, "vocabulary", None)
        if vocabulary is not None and id(vocabulary) not in written:
            # Of an id, the ones that are frequent; no feature's name has a dot in it.
            file = f"encoders/{name}.json"
            files[file if file not in files else f"encoders/{name}.frequent.json"] = vocabulary
            written.add(id(vocabulary))
    return files
