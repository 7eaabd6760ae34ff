"""A recommender small enough to work its answers out by hand, and what several tests of the handlers share.

Four items in two dimensions: "10" [1, 0], "11" [0, 1], "12" [1, 1], "13" [2, 0]. The tower is a function: a
query is [bucket of the age, length of the history that the tower gets]. Known users: "u1" of bucket 2 with
the history 10, 11, 12, of which the tower gets the last two, so [2, 2]; "u2" without age and history, [0, 0].
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from torchtowers.export.column_writer import column_of
from torchtowers.export.index_writer import IndexBlock, IndexWriter
from torchtowers.handlers.column_spec import ColumnSpec
from torchtowers.handlers.encoders import BucketEncoder, Encoder, TokenEncoder, TokenListEncoder, Vocabulary
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.lookup import LookupColumn
from torchtowers.handlers.query_encoder import QueryEncoder
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import FeatureSpec, Signature, TowerSpec
from torchtowers.handlers.strings import StringTable
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.tower_search import TowerSearch
from torchtowers.handlers.vectors import Vectors

ITEMS = ("10", "11", "12", "13")
EMBEDDINGS = np.array([[1, 0], [0, 1], [1, 1], [2, 0]], dtype=np.float32)
YEARS = (1979, 1998, None, 1982)
GENRES: tuple[list[str], ...] = (["Horror", "Sci-Fi"], ["Drama"], [], ["Horror"])
TITLES = ("Alien", "Misérables", None, 'The "Thing"')


def examples(count: int) -> settings:
    """Give hypothesis' settings: `count` examples, ten times as many in the long form."""
    long_form = os.environ.get("TORCHTOWERS_ALL_TESTS") == "1"
    return settings(
        max_examples=count * 10 if long_form else count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def json_texts(values: tuple[object, ...] | list[object]) -> StringTable:
    """Pack values as export does."""
    return StringTable.of(json.dumps(value, ensure_ascii=False) for value in values)


def write_index(folder: Path, spec: IndexSpec, embeddings: NDArray[np.float32], ids: StringTable) -> None:
    """Write an index's files as export does."""
    with IndexWriter(folder, spec, {}) as writer:
        writer.append(IndexBlock(embeddings, ids, {}))


def all_of(table: StringTable) -> list[str]:
    """Give a table's strings."""
    return [table[row] for row in range(len(table))]


COLUMNS = {
    name: column_of(json_texts(values))
    for name, values in (("title", TITLES), ("year", YEARS), ("genres", GENRES))
}


def query_spec(*, lookup: bool = True) -> TowerSpec:
    """Give the inputs of the query tower."""

    def feature(name: str, encoder: dict[str, Any], kind: str, *, required: bool = False) -> FeatureSpec:
        shape = ("batch", "length") if name == "history" else ("batch",)
        return FeatureSpec(name, kind, shape, encoder, "left_out", required)

    return TowerSpec(
        key="user_id",
        ids="encoders/user_id",
        features=(
            feature(
                "user_id",
                {"kind": "token", "vocabulary": "encoders/user_id", "oov_buckets": 1},
                "string",
                required=True,
            ),
            feature("age", {"kind": "buckets", "boundaries": [18, 30]}, "number"),
            feature(
                "history",
                {"kind": "token_list", "max_length": 2, "vocabulary": "encoders/item_id"},
                "string",
            ),
        ),
        lookup={"age": "lookup/age", "history": "lookup/history"} if lookup else {},
    )


def write_query_files(folder: Path) -> None:
    """Write what a query encoder reads."""
    Vocabulary(["u1", "u2"]).save(folder, "encoders/user_id")
    Vocabulary(ITEMS).save(folder, "encoders/item_id")
    LookupColumn(np.array([2, 0]), None).save(folder, "lookup/age")
    LookupColumn(np.array([2, 3, 4]), np.array([0, 3, 3])).save(folder, "lookup/history")


def small_tower(inputs: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    """Embed by hand: [bucket of the age, length of the history]."""
    lengths = np.count_nonzero(inputs["history"], axis=1)
    return np.stack([inputs["age"], lengths], axis=1).astype(np.float32)


def small_signature(*, lookup: bool = True, history: str | None = "history") -> Signature:
    """Give a signature that names no file's sha256."""
    return Signature(
        kind="retrieval",
        query=query_spec(lookup=lookup),
        candidate=None,
        history=history,
        index=IndexSpec(4, 2, "dot", True, "index/embeddings.npy", "index/ids"),
        columns={"title": ColumnSpec("columns/title", "filters/title", "text", is_list=False)},
        towers={"onnx": {"query": "query.onnx"}},
        onnx_opset=18,
        versions={"python": "3.11"},
        files={},
    )


def small_search(folder: Path, *, lookup: bool = True, history: str | None = "history") -> TowerSearch:
    """Make what searches, with the files of its encoders in `folder`."""
    write_query_files(folder)
    encoder = QueryEncoder(query_spec(lookup=lookup), folder, history)
    return TowerSearch(encoder, small_tower, ExactIndex(Vectors(EMBEDDINGS), TokenTable.of(ITEMS)))


def small_recommender(
    folder: Path, *, lookup: bool = True, history: str | None = "history", limits: Limits | None = None
) -> Recommender:
    """Make the recommender, with the files of its encoders in `folder`."""
    return Recommender(
        small_signature(lookup=lookup, history=history),
        small_search(folder, lookup=lookup, history=history),
        COLUMNS,
        limits or Limits(),
    )


def small_encoders() -> dict[str, Encoder]:
    """Give the query's encoders without any file."""
    return {
        "user_id": TokenEncoder(Vocabulary(["u1", "u2"])),
        "age": BucketEncoder([18, 30]),
        "history": TokenListEncoder(Vocabulary(ITEMS), 2),
    }


def strict_json(content: bytes) -> Any:
    """Parse JSON as its standard has it: no NaN, no Infinity, UTF-8 only."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in an answer: {content[:200]!r}")

    return json.loads(content.decode("utf-8"), parse_constant=refuse)


# Any text, lone surrogates included, as JSON may escape them.
texts = st.text(st.characters(codec=None), max_size=8)
integers = st.integers() | st.sampled_from([10**400, -(10**400), 2**63, -(2**63) - 1])
scalars = st.none() | st.booleans() | integers | st.floats() | texts
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
