"""The signature of two models: what it holds comes back, and what it serves is of one runtime."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.handlers.small_two_stage import small_combined_signature
from torchtowers.handlers.combined_signature import CombinedSignature, any_signature
from torchtowers.handlers.errors import ArtifactError, SignatureError
from torchtowers.handlers.signature import FILE_NAME


def test_comes_back_as_it_was_written(tmp_path: Path) -> None:
    signature = small_combined_signature()
    signature = signature.with_files(dict.fromkeys(sorted(signature.used_files()), "0" * 64))
    signature.write(tmp_path)
    assert CombinedSignature.read(tmp_path) == signature
    bare = replace(signature, item_ids=None, samples="samples.json")
    bare.write(tmp_path)
    assert CombinedSignature.read(tmp_path) == bare


def test_has_the_runtimes_of_both() -> None:
    signature = small_combined_signature()
    assert signature.towers == {"onnx": {"query": "query.onnx", "ranker": "ranker.onnx"}}
    more = replace(signature.retrieval, towers={"pt2": {"query": "query.pt2"}, **signature.retrieval.towers})
    assert replace(signature, retrieval=more).towers == signature.towers
    with pytest.raises(ArtifactError, match="the artifact has no pt2 tower, only onnx"):
        replace(signature, retrieval=more).for_serving("pt2")


def test_serves_the_used_files_only() -> None:
    signature = small_combined_signature()
    used = signature.used_files()
    assert {"items/rows.npy", "items/ids.npy", "query.onnx", "ranker.onnx", "lookup/year.values.npy"} <= used
    files = dict.fromkeys({*used, "candidate.onnx", "report.json"}, "0" * 64)
    served = signature.with_files(files).for_serving("onnx")
    assert served.files.keys() == used
    assert served.retrieval.files == served.ranking.files == served.files
    assert served.served_file == "query.onnx"


@pytest.mark.parametrize("content", [None, [], {}, {"format_version": 1}, {"format_version": 1, "kind": "x"}])
def test_refuses_what_is_no_signature(content: object, tmp_path: Path) -> None:
    with pytest.raises(SignatureError):
        any_signature(content)
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(SignatureError, match="can't be read"):
        CombinedSignature.read(tmp_path)
