from pathlib import Path

import numpy as np
import pytest

from torchtowers.export.errors import ExportError
from torchtowers.export.index_writer import IndexBlock, IndexWriter
from torchtowers.export.json_table import json_table
from torchtowers.handlers.index import ExactIndex
from torchtowers.handlers.index_spec import IndexSpec
from torchtowers.handlers.strings import StringTable

SPEC = IndexSpec(0, 2, "dot", True, "index/embeddings.npy", "index/ids")


def block_of(*ids: str, value: float = 1.0) -> IndexBlock:
    embeddings = np.full((len(ids), 2), value, np.float32)
    return IndexBlock(embeddings, json_table("ids", ids), {"title": json_table("title", ids)})


def test_blocks_become_an_index(tmp_path: Path) -> None:
    with IndexWriter(tmp_path, SPEC, {"title": "columns/title"}) as writer:
        for block in (block_of("a", "b"), block_of(), block_of("été", value=2.0)):
            writer.append(block)
    assert writer.spec == IndexSpec(3, 2, "dot", True, "index/embeddings.npy", "index/ids")
    index = ExactIndex.load(tmp_path, writer.spec)
    assert index.vectors.values.tolist() == [[1, 1], [1, 1], [2, 2]]
    assert index.rows_of(["été", "a", "c"]).tolist() == [2, 0]
    assert StringTable.load(tmp_path, "columns/title").json_values("title") == ["a", "b", "été"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_their_item(tmp_path: Path, value: float) -> None:
    block = block_of("a", "b")
    block.embeddings[1, 0] = value
    with (
        pytest.raises(ExportError, match='the embedding of item "b" has values that are not finite'),
        IndexWriter(tmp_path, SPEC, {"title": "columns/title"}) as writer,
    ):
        writer.append(block)


def test_values_of_another_dimension_are_refused(tmp_path: Path) -> None:
    block = IndexBlock(np.ones((1, 3), np.float32), json_table("ids", ["a"]), {})
    with (
        pytest.raises(ValueError, match="expected rows of the shape"),
        IndexWriter(tmp_path, SPEC, {}) as writer,
    ):
        writer.append(block)
