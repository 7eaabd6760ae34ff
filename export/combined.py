"""From a retrieval and a ranking artifact to one that answers in two stages."""

import importlib.metadata
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from torchtowers.data.folders import is_empty_folder, replaced_folder
from torchtowers.export.bill import write_bills
from torchtowers.export.combined_parts import Part, copy_part, read_part
from torchtowers.export.combined_verification import compare_stages
from torchtowers.export.comparison import TOLERANCE, Comparison, check_worst
from torchtowers.export.errors import ExportError
from torchtowers.export.samples import record_samples
from torchtowers.export.vendored import CONFIG, write_vendored
from torchtowers.handlers.arrays import save_array
from torchtowers.handlers.combined_signature import CombinedSignature
from torchtowers.handlers.encoders import Encoder, VectorEncoder
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.signature import FILE_NAME, Signature, sha256_of
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.vocabulary import FIRST_TOKEN

__all__ = ["CANDIDATES", "Combination", "combine_artifacts"]

Log = Callable[[str], None]

CANDIDATES = 500
_ITEM_ROWS = "items/rows.npy"
_ITEM_IDS = "items/ids.npy"
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Combination:
    """What was put together.

    Args:
        runtimes: Those of both artifacts.
        items: Of the index.
        unknown: Those that the ranking model does not know.
        candidates: Items that are ranked where nobody says how many.
        comparisons: What verification compared.
    """

    runtimes: tuple[str, ...]
    items: int
    unknown: int
    candidates: int
    comparisons: tuple[Comparison, ...]


def combine_artifacts(
    retrieval: str | Path,
    ranking: str | Path,
    out: str | Path,
    *,
    candidates: int = CANDIDATES,
    log: Log = lambda _: None,
) -> Combination:
    """Make one artifact of two: its answers are the ranking model's best of what the retrieval model finds.

    Both are taken as they are. The new artifact answers as the two do one after the other, or it is not
    written.

    Args:
        retrieval: The artifact of a retrieval model.
        ranking: The artifact of a ranking model, of the same users and items.
        out: The new artifact's directory; an earlier artifact there is replaced.
        candidates: Items that are found and ranked, where neither a request nor the server says how many.
        log: Told what is done, a line each.

    Raises:
        ArtifactError: An artifact can't be read, or a file was altered.
        ExportError: The two do not fit together, or `out` is in the way or can't be written.
        VerificationError: The new artifact answers otherwise than the two.
        RuntimeUnavailableError: The library of one of their formats is not installed.
    """
    if candidates < 1:
        raise ExportError(f"candidates: expected at least 1, got {candidates}")
    out = Path(out)
    parts = (read_part(Path(retrieval), "retrieval"), read_part(Path(ranking), "ranking"))
    _check_place(out, parts)
    _check_fit(*parts)
    runtimes = _common_runtimes(*parts, log=log)
    try:
        with replaced_folder(out) as folder:
            return _write(folder, *parts, runtimes, candidates, log)
    except OSError as error:
        raise ExportError(f"{out} can't be written: {error.strerror or error}") from error


def _write(
    folder: Path, retrieval: Part, ranking: Part, runtimes: Sequence[str], candidates: int, log: Log
) -> Combination:
    found, ranked = (copy_part(part, folder, runtimes) for part in (retrieval, ranking))
    items, unknown, has_ids = _write_items(folder, found, ranked)
    if unknown == items:
        raise ExportError(
            f"the ranking model knows none of the {items:,} items of the index: train both on the same items"
        )
    if unknown:
        log(
            f"{unknown:,} of {items:,} items of the index are unknown to the ranking model, which ranks them "
            "by what it makes of an unknown item"
        )
    signature = CombinedSignature(
        retrieval=found,
        ranking=ranked,
        candidates=candidates,
        item_rows=_ITEM_ROWS,
        item_ids=_ITEM_IDS if has_ids else None,
        versions={
            "python": platform.python_version(),
            "torchtowers": importlib.metadata.version("torchtowers"),
        },
        files={},
    )
    write_vendored(folder, signature.kind)
    write_bills(folder, signature, log=log)
    signature = signature.with_files(_hashes(folder))
    signature.write(folder)
    log("comparing the answers with those of both artifacts, one after the other")
    comparisons = tuple(compare_stages(folder, signature))
    check_worst(comparisons)
    signature = record_samples(folder, signature)
    combination = Combination(tuple(runtimes), items, unknown, candidates, comparisons)
    report = {"tolerance": TOLERANCE, **asdict(combination)}
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    signature.with_files(_hashes(folder)).write(folder)
    return combination


def _write_items(folder: Path, retrieval: Signature, ranking: Signature) -> tuple[int, int, bool]:
    """Write what the ranking model has for each item of the index.

    Returns:
        How many items there are, how many of them are unknown, and whether the id is a feature.
    """
    if retrieval.index is None or ranking.candidate is None:
        raise ExportError("the artifacts have no index or no candidate inputs; export them again")
    ids = StringTable.load(folder, retrieval.index.ids)
    item = QueryEncoder(ranking.candidate, folder, None)
    feature = item.encoders.get(item.key)
    rows = np.empty(len(ids), np.int64)
    encoded = np.empty(len(ids), np.int64)
    for first in range(0, len(ids), _ROWS_AT_ONCE):
        last = min(first + _ROWS_AT_ONCE, len(ids))
        names = ids.take(range(first, last)).json_values("the index's ids")
        rows[first:last] = [item.ids.encode_value(name, item.key) for name in names]
        if feature is not None:
            encoded[first:last] = [feature.encode_value(name, item.key) for name in names]
    rows -= FIRST_TOKEN
    rows[rows < 0] = -1
    save_array(folder, _ITEM_ROWS, rows)
    if feature is not None:
        save_array(folder, _ITEM_IDS, encoded)
    return len(ids), int((rows < 0).sum()), feature is not None


def _common_runtimes(retrieval: Part, ranking: Part, *, log: Log) -> tuple[str, ...]:
    theirs = [part.signature.towers for part in (retrieval, ranking)]
    common = tuple(runtime for runtime in theirs[0] if runtime in theirs[1])
    if not common:
        raise ExportError(
            f"{retrieval.folder} has {', '.join(theirs[0])} files and {ranking.folder} has "
            f"{', '.join(theirs[1])} files, none of the same format: export one of them again with --format"
        )
    left = sorted({*theirs[0], *theirs[1]}.difference(common))
    if left:
        log(f"left out: {' and '.join(left)}, which only one of the two has")
    return common


def _check_fit(retrieval: Part, ranking: Part) -> None:
    found, ranked = retrieval.signature, ranking.signature
    for what, one, two in (
        ("users", found.query, ranked.query),
        ("items", found.candidate, ranked.candidate),
    ):
        if one is not None and two is not None and one.key != two.key:
            raise ExportError(
                f"the {what} of {retrieval.folder} are known by {one.key}, those of {ranking.folder} by "
                f"{two.key}: train both on columns of the same names"
            )
    ours = {spec.name: spec.load_encoder(None) for spec in found.query.features}
    theirs = {spec.name: spec.load_encoder(None) for spec in ranked.query.features}
    for name in sorted(ours.keys() & theirs.keys()):
        if _values_of(ours[name]) != _values_of(theirs[name]):
            raise ExportError(
                f"{name} is {ours[name].expected} for {retrieval.folder} and {theirs[name].expected} for "
                f"{ranking.folder}, and a request's value goes to both: call one of them otherwise"
            )


def _values_of(encoder: Encoder) -> tuple[str, int]:
    """Tell what values of a request an encoder takes; a timestamp's number is another than a number."""
    return encoder.expected, encoder.width if isinstance(encoder, VectorEncoder) else 0


def _check_place(out: Path, parts: Sequence[Part]) -> None:
    for part in parts:
        ours, theirs = part.folder.resolve(), out.resolve()
        if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
            raise ExportError(
                f"{out} is one of the artifacts, or one of them is in the other: choose another --out"
            )
    if out.exists() and not (out / FILE_NAME).exists() and not is_empty_folder(out):
        raise ExportError(f"{out} is in the way and is no artifact: choose another --out or remove it")


def _hashes(folder: Path) -> dict[str, str]:
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: sha256_of(path) for name, path in files.items() if name not in (FILE_NAME, CONFIG)}
