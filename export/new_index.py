"""From an artifact and a file of items to one of the same towers with a new index; no run is needed."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from torchtowers.data.folders import is_empty_folder, replaced_folder
from torchtowers.data.id_rows import hashes_of
from torchtowers.export.candidate_embedder import CandidateEmbedder
from torchtowers.export.column_writer import write_filter
from torchtowers.export.earlier_index import EarlierIndex
from torchtowers.export.errors import ExportError
from torchtowers.export.index_writer import IndexBlock, IndexWriter
from torchtowers.export.item_file import ItemFile
from torchtowers.export.json_table import json_table
from torchtowers.export.samples import record_samples
from torchtowers.export.vendored import CONFIG
from torchtowers.handlers.combined_signature import read_signature
from torchtowers.handlers.encoders import TokenEncoder
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.signature import FILE_NAME, Signature, TowerSpec, sha256_of
from torchtowers.handlers.token_table import TokenTable

__all__ = ["IndexChange", "export_index"]

Log = Callable[[str], None]

_REPORT = "report.json"


@dataclass(frozen=True)
class IndexChange:
    """What became of an artifact's items.

    Args:
        items: In the new index.
        new: Of the file's, those that the artifact did not have.
        changed: Those whose embedding or columns are others now.
        unchanged: Those that are as they were.
        kept: The artifact's items that are not in the file, and stay.
        gone: The artifact's items that are not in the file, and are left out.
        unknown: Of the file's, those whose id the candidate tower has not learnt.
        left_out: Rows of the file without an id.
    """

    items: int
    new: int
    changed: int
    unchanged: int
    kept: int
    gone: int
    unknown: int
    left_out: int


def export_index(
    artifact: str | Path,
    items: str | Path,
    out: str | Path,
    *,
    add: bool = False,
    show_progress: bool = False,
    log: Log = lambda _: None,
) -> IndexChange:
    """Embed items with an artifact's own candidate tower, into a new artifact; memory holds a part of them.

    The towers, encoders and all else are carried over as they are. The fused files are not: they hold the
    earlier index.

    Args:
        artifact: Of a retrieval model.
        items: A file, a folder of shards, or a pattern, with the columns that training had.
        out: The new artifact's directory; an earlier artifact there is replaced.
        add: Keep the artifact's items that are not in the file; otherwise the new index holds exactly the
            file's items.
        show_progress: Whether to draw a progress bar on standard error.
        log: Told what is done, a line each.

    Raises:
        ArtifactError: The artifact can't be read, or a file was altered.
        DataError: The file can't be read, lacks a column, has an id twice, or a value that does not fit.
        ExportError: The artifact has no candidate tower, or `out` is in the way or can't be written.
        RuntimeUnavailableError: No library of the artifact's formats is installed.
    """
    artifact, out = Path(artifact), Path(out)
    signature, spec, index = _read(artifact)
    _check_place(artifact, out)
    signature.verify_files(artifact)
    embedder = CandidateEmbedder(artifact, signature, spec, log=log)
    file = ItemFile(items, spec.key, embedder.encoders, signature.columns)
    update = _Update(artifact, signature, index, embedder, file, log)
    try:
        with replaced_folder(out) as part:
            return update.write(part, add=add, show_progress=show_progress)
    except OSError as error:
        raise ExportError(f"{out} can't be written: {error.strerror or error}") from error


class _Update:
    """A new index for an artifact, from a file of items."""

    def __init__(
        self,
        artifact: Path,
        signature: Signature,
        index: IndexSpec,
        embedder: CandidateEmbedder,
        file: ItemFile,
        log: Log,
    ) -> None:
        self._artifact = artifact
        self._signature = signature
        self._index = index
        self._embedder = embedder
        self._file = file
        self._log = log

    def write(self, folder: Path, *, add: bool, show_progress: bool) -> IndexChange:
        """Write the new artifact."""
        sources = self._file.sources
        carried = self._carry(folder)
        index, change = self._write_index(folder, add=add, show_progress=show_progress)
        columns = {
            name: write_filter(folder, name, column.text) for name, column in self._signature.columns.items()
        }
        if self._file.sources != sources:
            raise ExportError(f"{self._file.path} changed while it was read: give a file that stays as it is")
        self._tell(change)
        self._write_report(folder, {"files": sources, "add": add, **asdict(change)})
        written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        hashes = {name: sha256_of(path) for name, path in written.items() if name != CONFIG}
        altered = [name for name, sha in carried.items() if hashes.get(name) != sha]
        if altered:
            raise ArtifactError(f"{altered[0]} in {self._artifact.name} was altered while it was copied")
        signature = replace(
            self._signature, index=index, columns=columns, fused={}, samples=None, files=hashes
        )
        signature.write(folder)
        record_samples(folder, signature, self._embedder.runtime)
        return change

    def _carry(self, folder: Path) -> dict[str, str]:
        """Copy all that does not belong to the index, and give these files with their sha256."""
        signature = self._signature
        made = {*self._index.arrays(), _REPORT, signature.samples}
        made.update(TokenTable.files(self._index.ids))
        for column in signature.columns.values():
            made.update(column.files())
        fused = sorted(signature.fused.values())
        if fused:
            self._log(
                f"left out: {' and '.join(fused)}, since they hold the earlier index; only an export of the "
                "run makes new ones"
            )
        carried = {name: sha for name, sha in signature.files.items() if name not in made.union(fused)}
        settings = [CONFIG] if (self._artifact / CONFIG).exists() else []
        for name in (*carried, *settings):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._artifact / name, folder / name)
        return carried

    def _write_index(self, folder: Path, *, add: bool, show_progress: bool) -> tuple[IndexSpec, IndexChange]:
        earlier = EarlierIndex(self._artifact, self._signature, self._index)
        ids, left_out = self._file.ids()
        rest = earlier.missing_in(ids)
        known = unchanged = unknown = 0
        self._log(f"embedding {len(ids):,} items with the {self._embedder.runtime} candidate tower")
        with (
            IndexWriter(folder, self._index, self._stems) as writer,
            tqdm(total=len(ids), unit=" items", disable=None if show_progress else True) as bar,
        ):
            for block in earlier.blocks(rest) if add else ():
                writer.append(block)
            for block, hashes, unknown_here in self._blocks():
                rows = earlier.rows_of(hashes)
                known += int((rows >= 0).sum())
                unchanged += earlier.count_equal(rows, block)
                unknown += unknown_here
                writer.append(block)
                bar.update(len(block))
        kept = len(rest) if add else 0
        return writer.spec, IndexChange(
            items=writer.spec.size,
            new=len(ids) - known,
            changed=known - unchanged,
            unchanged=unchanged,
            kept=kept,
            gone=len(rest) - kept,
            unknown=unknown,
            left_out=left_out,
        )

    @property
    def _stems(self) -> dict[str, str]:
        return {name: column.text for name, column in self._signature.columns.items()}

    def _blocks(self) -> Iterator[tuple[IndexBlock, NDArray[np.uint64], int]]:
        """Give the file's items embedded, with their ids' hashes and how many ids the tower does not know."""
        for table in self._file.parts():
            embeddings, unknown = self._embedder.embed(table)
            columns = {
                name: json_table(f"data.columns: {name}", table[name].to_list())
                for name in self._signature.columns
            }
            ids = table[self._file.key]
            block = IndexBlock(embeddings, json_table(self._file.key, ids.to_list()), columns)
            yield block, hashes_of(ids), unknown

    def _tell(self, change: IndexChange) -> None:
        key = self._file.key
        if change.left_out:
            self._log(f"left out: {change.left_out:,} rows without {key}")
        if not change.unknown:
            return
        self._log(f"{change.unknown:,} items have ids that the candidate tower has not learnt")
        if set(self._embedder.encoders) == {key}:
            is_token = isinstance(self._embedder.encoders[key], TokenEncoder)
            self._log(
                f"WARNING: {key} is all that the candidate tower looks at, and so it knows nothing of these "
                f"items: {'they share one embedding' if is_token else 'their embeddings are arbitrary'}; "
                "train again, or train with features of items"
            )

    def _write_report(self, folder: Path, index: dict[str, Any]) -> None:
        path = self._artifact / _REPORT
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        # What was compared with the trained model stays: the towers are the same.
        text = json.dumps({**report, "index": index}, indent=2) + "\n"
        (folder / _REPORT).write_text(text, encoding="utf-8")


def _read(artifact: Path) -> tuple[Signature, TowerSpec, IndexSpec]:
    from_archive = "give the artifact directory that the archive was built from"
    if artifact.is_file():
        raise ExportError(f"{artifact} is a file, and an archive has no candidate tower: {from_archive}")
    signature = read_signature(artifact)
    if not isinstance(signature, Signature):
        raise ExportError(
            f"{artifact} is of two models: make the new index of the retrieval artifact that it was combined "
            "of, and combine it with the ranking artifact again"
        )
    if signature.kind != "retrieval" or signature.index is None:
        raise ExportError(
            f"{artifact} is of a {signature.kind} model, which has no index: it scores the candidates that a "
            "request lists"
        )
    if signature.candidate is None:
        raise ExportError(f"{artifact} has no candidate tower, as an archive has none: {from_archive}")
    return signature, signature.candidate, signature.index


def _check_place(artifact: Path, out: Path) -> None:
    ours, theirs = artifact.resolve(), out.resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
        raise ExportError(
            f"{out} is the artifact itself, or one of them is in the other: choose another --out, so that "
            "the earlier index can be gone back to"
        )
    if out.exists() and not (out / FILE_NAME).exists() and not is_empty_folder(out):
        raise ExportError(f"{out} is in the way and is no artifact: choose another --out or remove it")
