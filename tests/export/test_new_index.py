"""A new index for an artifact: its items, what is carried over, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tests.export.test_artifact import contents, full_disk
from tests.export.test_verification import sign_again
from tests.handlers.served import tower_search
from tests.tiny import ITEMS, tiny_config, tiny_tables, tiny_trained
from torchtowers.cli import main as cli
from torchtowers.data.errors import DataError
from torchtowers.export import candidate_embedder, earlier_index, item_file
from torchtowers.export.archive import build_archive
from torchtowers.export.artifact import export_artifact
from torchtowers.export.errors import ExportError
from torchtowers.export.index_writer import IndexBlock, IndexWriter
from torchtowers.export.new_index import IndexChange, export_index
from torchtowers.export.precision import Precision
from torchtowers.export.verification import verify_artifact
from torchtowers.handlers.errors import ArtifactError, TowersError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature, sha256_of
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.experiment import Trained

SCORED_AGAIN = Precision(index="int8", rescore=True)
TOWERS = ("query.onnx", "candidate.onnx", "query.pt", "candidate.pt")


def today() -> pl.DataFrame:
    """Two items are new, one has another title, one another year, ten are gone, the rest is turned round."""
    items = tiny_tables().items.with_columns(
        title=pl.when(pl.col("item_id") == "120").then(pl.lit("the Comedy")).otherwise("title"),
        year=pl.when(pl.col("item_id") == "121").then(pl.lit(1996)).otherwise("year"),
    )
    new = items.tail(2).with_columns(item_id=pl.Series(["new", "nouveauté"]), year=pl.lit(None, pl.Int64))
    return pl.concat([new, items.slice(10).reverse()])


def written(table: pl.DataFrame, path: Path) -> Path:
    table.write_parquet(path)
    return path


@pytest.fixture
def items(tmp_path: Path) -> Path:
    return written(today(), tmp_path / "items.parquet")


def index_of(folder: Path) -> dict[str, Any]:
    """Give each item's embedding and columns."""
    index = tower_search(folder).index
    served = Recommender.load(folder, runtime="onnx")
    names = index.ids.json_values("ids")
    columns = {name: column.text.json_values(name) for name, column in served.columns.items()}
    return {
        name: (index.vectors.values[row], {column: values[row] for column, values in columns.items()})
        for row, name in enumerate(names)
    }


def eager(trained: Trained, items: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Embed items by the trained model, each value encoded by itself."""
    encoders: dict[str, Any] = dict(trained.dataset.items.encoders)
    inputs = {name: encoder.encode(items[name].to_list()) for name, encoder in encoders.items()}
    with torch.inference_mode():
        embeddings: np.ndarray[Any, np.dtype[np.float32]] = trained.towers.candidate_tower(
            to_tensors(inputs)
        ).numpy()
    return embeddings


def test_the_index_holds_the_items_of_the_file_as_the_trained_model_embeds_them(
    trained: Trained, artifact: Path, items: Path, tmp_path: Path
) -> None:
    change = export_index(artifact, items, tmp_path / "new")
    assert change == IndexChange(
        items=52, new=2, changed=2, unchanged=48, kept=0, gone=10, unknown=2, left_out=0
    )
    before, after, table = index_of(artifact), index_of(tmp_path / "new"), today()
    assert list(after) == table["item_id"].to_list()
    embeddings = np.stack([embedding for embedding, _ in after.values()])
    np.testing.assert_allclose(embeddings, eager(trained, table), atol=1e-5)
    assert [columns for _, columns in after.values()] == table.select("title", "year", "genres").to_dicts()
    for name in set(after) - {"new", "nouveauté", "120", "121"}:
        np.testing.assert_allclose(after[name][0], before[name][0], atol=1e-5)
        assert after[name][1] == before[name][1]


def test_add_keeps_the_items_that_are_not_in_the_file(artifact: Path, items: Path, tmp_path: Path) -> None:
    change = export_index(artifact, items, tmp_path / "new", add=True)
    assert change == IndexChange(
        items=62, new=2, changed=2, unchanged=48, kept=10, gone=0, unknown=2, left_out=0
    )
    before, after = index_of(artifact), index_of(tmp_path / "new")
    kept = [str(100 + item) for item in range(10)]
    assert list(after) == kept + today()["item_id"].to_list()
    for name in kept:
        np.testing.assert_array_equal(after[name][0], before[name][0])
        assert after[name][1] == before[name][1]
    again = export_index(tmp_path / "new", items, tmp_path / "again", add=True)
    assert (again.new, again.changed, again.unchanged, again.kept) == (0, 0, 52, 10)


def test_all_but_the_index_is_the_same_to_the_byte_and_signed(
    artifact: Path, items: Path, tmp_path: Path
) -> None:
    export_index(artifact, items, tmp_path / "new")
    before, after = contents(artifact), contents(tmp_path / "new")
    assert before.keys() == after.keys()
    assert set(TOWERS) | {"verification.safetensors", "retrieval_handler.py", "model-config.yaml"} <= set(
        after
    )
    assert {name for name in before if before[name] != after[name]} == {
        "signature.json",
        "report.json",
        "samples.json",
        "index/embeddings.npy",
        "index/ids.bytes.npy",
        "index/ids.offsets.npy",
        "index/ids.slots.npy",
        *(f"columns/{name}.bytes.npy" for name in ("title", "year", "genres")),
        *(f"columns/{name}.offsets.npy" for name in ("title", "year", "genres")),
        *(f"filters/{name}.distinct.bytes.npy" for name in ("title",)),
        *(f"filters/{name}.distinct.offsets.npy" for name in ("title",)),
        *("filters/title.codes.npy", "filters/year.numbers.npy"),
        *("filters/genres.codes.npy", "filters/genres.starts.npy"),
    }
    one, two = Signature.read(artifact), Signature.read(tmp_path / "new")
    two.verify_files(tmp_path / "new")
    assert one.index is not None
    assert two.index == replace(one.index, size=52)
    assert replace(two, index=one.index, files=one.files) == one
    assert two.files == {name: sha256_of(tmp_path / "new" / name) for name in one.files}


def test_the_report_says_what_the_index_was_made_of(artifact: Path, items: Path, tmp_path: Path) -> None:
    change = export_index(artifact, items, tmp_path / "new")
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    source = {"file": "items.parquet", "sha256": sha256_of(items)}
    assert report.pop("index") == {"files": [source], "add": False, **vars(change)}
    assert report == json.loads((artifact / "report.json").read_text())
    assert str(tmp_path) not in json.dumps(report)


@pytest.mark.parametrize("add", [False, True])
def test_it_is_verified_and_archived_and_answers_with_new_items(
    trained: Trained, artifact: Path, items: Path, tmp_path: Path, add: bool
) -> None:
    export_index(artifact, items, tmp_path / "new", add=add)
    comparisons = verify_artifact(tmp_path / "new")
    assert {comparison.compared for comparison in comparisons} == {"query", "candidate", "recommendations"}
    build_archive(tmp_path / "new", name="m", export_path=tmp_path / "store", archive_format="no-archive")
    served = Recommender.load(tmp_path / "store" / "m")
    body = {"user_id": "u1", "k": 62, "fields": ["title"], "exclude_history": False}
    answer = served.recommend(body)
    assert len(answer["items"]) == (62 if add else 52)
    found = dict(zip(answer["items"], answer["fields"]["title"], strict=True))
    assert found["nouveauté"] == today()["title"][1]
    assert found["120"] == "the Comedy"
    assert "new" not in served.recommend({**body, "exclude": ["new"]})["items"]
    # The history's tokens are those of training; what is gone can't come back.
    history = [str(item) for item in range(105, 115)]
    left = served.recommend({"user_id": "?", "history": history, "k": 62, "exclude_history": True})["items"]
    assert not set(left) & set(history)
    assert len(left) == (52 if add else 47)


def test_one_item_is_an_index_too(artifact: Path, tmp_path: Path) -> None:
    export_index(artifact, written(today().head(1), tmp_path / "one.parquet"), tmp_path / "new")
    verify_artifact(tmp_path / "new")
    assert Recommender.load(tmp_path / "new").recommend({"user_id": "u1"})["items"] == ["new"]


def test_other_kinds_of_files_give_the_same_index(artifact: Path, items: Path, tmp_path: Path) -> None:
    flat = today().with_columns(pl.col("genres").list.join("|"))
    flat.write_csv(tmp_path / "items.csv")
    (tmp_path / "shards").mkdir()
    flat.head(20).write_csv(tmp_path / "shards" / "1.csv")
    flat.slice(20).write_csv(tmp_path / "shards" / "2.csv")
    export_index(artifact, items, tmp_path / "parquet")
    for source in ("items.csv", "shards", "shards/*.csv"):
        export_index(artifact, tmp_path / source, tmp_path / "new")
        for name in ("index/embeddings.npy", "index/ids.bytes.npy", "index/ids.offsets.npy"):
            assert (tmp_path / "new" / name).read_bytes() == (tmp_path / "parquet" / name).read_bytes()
    report = json.loads((tmp_path / "new" / "report.json").read_text())
    assert [file["file"] for file in report["index"]["files"]] == ["1.csv", "2.csv"]


@pytest.mark.parametrize("add", [False, True])
def test_parts_give_the_index_of_the_whole(
    artifact: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, add: bool
) -> None:
    whole = export_index(artifact, items, tmp_path / "whole", add=add)
    for module, rows in ((item_file, 7), (candidate_embedder, 3), (earlier_index, 4)):
        monkeypatch.setattr(module, "_ROWS_AT_ONCE", rows)
    assert export_index(artifact, items, tmp_path / "parts", add=add) == whole
    one, two = contents(tmp_path / "whole"), contents(tmp_path / "parts")
    for name in one.keys() - {"signature.json", "index/embeddings.npy"}:
        assert one[name] == two[name]
    ours, theirs = (np.load(tmp_path / name / "index/embeddings.npy") for name in ("whole", "parts"))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_same_items_give_the_same_bytes(artifact: Path, items: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_index(artifact, items, tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_rows_without_an_id_are_left_out_and_told(artifact: Path, tmp_path: Path) -> None:
    table = today().with_columns(
        item_id=pl.when(pl.col("item_id") == "new").then(None).otherwise(pl.col("item_id"))
    )
    table = pl.concat([table, table.tail(1).with_columns(item_id=pl.lit(""))])
    log: list[str] = []
    change = export_index(artifact, written(table, tmp_path / "i.parquet"), tmp_path / "new", log=log.append)
    assert (change.items, change.new, change.left_out) == (51, 1, 2)
    assert "left out: 2 rows without item_id" in log


def test_fused_files_are_left_out_and_told(trained: Trained, items: Path, tmp_path: Path) -> None:
    config = tiny_config(features={"item": {"item_id": {"kind": "token"}, "genres": {"kind": "token_list"}}})
    small = tiny_trained(tmp_path / "run", config)
    export_artifact(small, tmp_path / "fused", ("onnx",), fused=True)
    log: list[str] = []
    export_index(tmp_path / "fused", items, tmp_path / "new", log=log.append)
    assert any(line.startswith("left out: fused.onnx, since") for line in log)
    assert Signature.read(tmp_path / "new").fused == {}
    assert not list((tmp_path / "new").glob("fused*"))
    verify_artifact(tmp_path / "new")


@pytest.mark.parametrize(
    ("features", "unknown", "warned"),
    [
        ({"item_id": {"kind": "token"}}, 2, "they share one embedding"),
        ({"item_id": {"kind": "hashed_token", "buckets": 50}}, 2, "their embeddings are arbitrary"),
        ({"item_id": {"kind": "token", "oov_buckets": 4}, "year": {"kind": "number"}}, 2, None),
        ({"year": {"kind": "number"}}, 0, None),
    ],
)
def test_ids_that_the_tower_has_not_learnt_are_counted_and_warned_of(
    items: Path, tmp_path: Path, features: dict[str, object], unknown: int, warned: str | None
) -> None:
    config = tiny_config(features={"item": features}, training={"epochs": 1})
    export_artifact(tiny_trained(tmp_path / "run", config), tmp_path / "artifact", ("torchscript",))
    log: list[str] = []
    change = export_index(tmp_path / "artifact", items, tmp_path / "new", log=log.append)
    assert change.unknown == unknown
    warnings = [line for line in log if line.startswith("WARNING")]
    assert len(warnings) == (warned is not None)
    assert all(str(warned) in line for line in warnings)
    if warned == "they share one embedding":
        after = tower_search(tmp_path / "new", "torchscript").index.vectors.values
        np.testing.assert_array_equal(after[0], after[1])
    verify_artifact(tmp_path / "new")


_WITHOUT = """
import sys
# As Python has it for a library that can't be found.
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))
from torchtowers.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def without(libraries: str, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run a command where libraries can't be imported."""
    command = [sys.executable, "-c", _WITHOUT, libraries, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_torch_is_not_needed_where_there_is_onnx(artifact: Path, items: Path, tmp_path: Path) -> None:
    words = ("export", "index", artifact, "--items", items, "--out", tmp_path / "new", "--json")
    done = without("torch", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == 52
    assert "embedding 52 items with the onnx candidate tower" in done.stderr


def test_another_format_is_taken_where_onnxruntime_is_not(
    artifact: Path, items: Path, tmp_path: Path
) -> None:
    words = ("export", "index", artifact, "--items", items, "--out", tmp_path / "new")
    done = without("onnxruntime", *words)
    assert done.returncode == 0, done.stderr
    assert "the onnx candidate tower can't be run here: import of onnxruntime halted" in done.stderr
    assert "with the torchscript candidate tower" in done.stderr
    verify_artifact(tmp_path / "new")
    done = without("onnxruntime,torch", *words)
    assert done.returncode == 2
    assert "install onnxruntime or torch" in done.stderr.splitlines()[-1]


def test_the_command_prints_the_counts(
    artifact: Path, items: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "index", str(artifact), "--items", str(items), "--out", str(tmp_path / "new")]
    assert cli.main(words) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["items", "new", "changed", "unchanged", "gone", "unknown"],
        ["52", "2", "2", "48", "10", "2"],
    ]
    assert cli.main([*words, "--add", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["kept"] == 10
    assert "2 items have a item_id" not in err
    assert "ids that the candidate tower has not learnt" in err


def without_column(name: str) -> Callable[[], pl.DataFrame]:
    return lambda: today().drop(name)


BAD: dict[str, tuple[Callable[[], pl.DataFrame], str]] = {
    "no id": (without_column("item_id"), "the items' ids: there is no column item_id; the items' table has"),
    "no feature": (without_column("genres"), r"features\.item: there is no column genres"),
    "no text": (
        lambda: today().with_columns(title=pl.lit(3)),
        r"features\.item: title is of kind words, which takes strings; the column holds Int32, such as 3",
    ),
    "no number": (
        lambda: today().with_columns(year=pl.lit("long ago")),
        "year is of kind buckets, which takes numbers; the column holds String, such as long ago",
    ),
    "no lists": (lambda: today().with_columns(genres=pl.lit(1.5)), "genres is of kind token_list"),
    "ids of floats": (lambda: today().with_columns(item_id=pl.lit(1.5)), "item_id: ids are text or integers"),
    "nan": (
        lambda: today().with_columns(year=pl.lit(float("nan"))),
        "column year: expected a finite number, or null where there is none, got nan",
    ),
    "no rows": (lambda: today().head(0), "there is no item in it; an index needs at least one"),
    "no ids": (
        lambda: today().with_columns(item_id=pl.lit(None, pl.String)),
        "there is no item in it, only 52 rows without item_id",
    ),
    "twice": (
        lambda: pl.concat([today(), today().slice(3, 2)]),
        r"items\.parquet: item_id 158 is there twice: keep one row of each item",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_items_that_cannot_be_used_are_refused_and_nothing_is_left(
    artifact: Path, tmp_path: Path, name: str
) -> None:
    table, said = BAD[name]
    items = written(table(), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=said) as caught:
        export_index(artifact, items, tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["items.parquet"]


def test_an_id_that_comes_again_in_a_later_part_is_refused(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_file, "_ROWS_AT_ONCE", 7)
    items = written(pl.concat([today(), today().slice(9, 1)]), tmp_path / "items.parquet")
    with pytest.raises(DataError, match="item_id 152 is there twice"):
        export_index(artifact, items, tmp_path / "new")


@pytest.mark.parametrize(
    ("name", "content"),
    [("items.csv", b""), ("items.parquet", b"no parquet"), ("items.txt", b"a,b\n"), ("none.parquet", None)],
)
def test_files_that_are_no_table_are_refused(
    artifact: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        export_index(artifact, tmp_path / name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_damaged_later_on_is_refused(artifact: Path, items: Path, tmp_path: Path) -> None:
    flat = today().with_columns(pl.col("genres").list.join("|"))
    lines = flat.write_csv().splitlines()
    (tmp_path / "items.csv").write_text("\n".join([*lines, "a,b,c,d,e,f"]))
    with pytest.raises(DataError, match=r"items\.csv can't be read \(a row has more values"):
        export_index(artifact, tmp_path / "items.csv", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_column_that_json_cannot_hold_is_refused(artifact: Path, tmp_path: Path) -> None:
    signature = Signature.read(artifact)
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    replace(signature, columns={"made": signature.columns["title"]}).write(copy)
    table = today().with_columns(made=pl.date(2020, 1, 1))
    with pytest.raises(ExportError, match=r"data\.columns: made: an answer is JSON, which can't hold it"):
        export_index(copy, written(table, tmp_path / "items.parquet"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_altered_tower_is_refused_before_any_work(artifact: Path, items: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    with (copy / "candidate.onnx").open("ab") as file:
        file.write(b"x")
    log: list[str] = []
    with pytest.raises(ArtifactError, match=r"candidate\.onnx in copy was altered"):
        export_index(copy, items, tmp_path / "new", log=log.append)
    assert log == []
    assert not (tmp_path / "new").exists()


def test_a_file_that_changes_while_it_is_copied_is_refused(
    artifact: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    verified = Signature.verify_files

    def verify_then_alter(self: Signature, folder: Path) -> None:
        verified(self, folder)
        with (folder / "query.onnx").open("ab") as file:
            file.write(b"x")

    monkeypatch.setattr(Signature, "verify_files", verify_then_alter)
    with pytest.raises(ArtifactError, match=r"query\.onnx in copy was altered while it was copied"):
        export_index(copy, items, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_of_items_that_changes_while_it_is_read_is_refused(
    artifact: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = IndexWriter.append

    def append_and_change(self: IndexWriter, block: IndexBlock) -> None:
        append(self, block)
        written(today().head(3), items)

    monkeypatch.setattr(IndexWriter, "append", append_and_change)
    with pytest.raises(ExportError, match=r"items\.parquet changed while it was read"):
        export_index(artifact, items, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_another_models_tower_is_refused(artifact: Path, items: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy"))
    shutil.copy(copy / "query.onnx", copy / "candidate.onnx")
    sign_again(copy)
    with pytest.raises(
        ArtifactError, match="the onnx candidate tower does not take the signature's features"
    ):
        export_index(copy, items, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_no_artifact_of_a_retrieval_model_is_refused(
    artifact: Path, ranking_artifact: Path, archives: Path, items: Path, tmp_path: Path
) -> None:
    unpacked = build_archive(artifact, name="m", export_path=tmp_path / "store", archive_format="no-archive")
    for place, said in (
        (ranking_artifact, "is of a ranking model, which has no index"),
        (
            archives / "tiny-onnx.mar",
            r"tiny-onnx\.mar is a file, and an archive has no candidate tower: give",
        ),
        (unpacked, "has no candidate tower, as an archive has none: give the artifact directory"),
        (tmp_path, "it is not an artifact"),
    ):
        with pytest.raises(TowersError, match=said):
            export_index(place, items, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_artifact_and_what_is_no_artifact_are_not_replaced(
    artifact: Path, items: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "place" / "copy"))
    shutil.copy(copy / "signature.json", tmp_path / "place")  # so that it looks like an artifact
    (tmp_path / "link").symlink_to(copy)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    before = contents(tmp_path)
    for out, said in (
        ("place/copy", "is the artifact itself, or one of them is in the other"),
        ("link", "is the artifact itself"),
        ("place", "one of them is in the other"),
        ("place/copy/new", "one of them is in the other"),
        ("thesis", "is in the way and is no artifact"),
    ):
        with pytest.raises(ExportError, match=said):
            export_index(copy, items, tmp_path / out)
    assert contents(tmp_path) == before


def test_an_earlier_artifact_is_replaced_wholly(artifact: Path, items: Path, tmp_path: Path) -> None:
    earlier = Path(shutil.copytree(artifact, tmp_path / "new"))
    (earlier / "left-over.txt").write_text("of the earlier one")
    export_index(artifact, items, earlier)
    assert not (earlier / "left-over.txt").exists()
    verify_artifact(earlier)


def test_a_full_disk_leaves_nothing_and_says_so_in_one_line(
    artifact: Path, items: Path, tmp_path: Path
) -> None:
    place = tmp_path / "artifacts"
    for limit in (100, 5000):  # at the first file that is copied, and at a tower
        with pytest.raises(ExportError, match="new can't be written: ") as caught, full_disk(limit):
            export_index(artifact, items, place / "new")
        assert "\n" not in str(caught.value)
        assert not list(place.iterdir())


def test_an_interruption_keeps_the_earlier_artifact_and_leaves_nothing_beside(
    artifact: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "artifacts"
    earlier = Path(shutil.copytree(artifact, place / "new"))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = contents(earlier)
    monkeypatch.setattr(IndexWriter, "append", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_index(artifact, items, earlier)
    assert contents(earlier) == before
    assert [path.name for path in place.iterdir()] == ["new"]


_KILLED = """
import os, signal, sys
from torchtowers.export import index_writer, item_file, new_index
item_file._ROWS_AT_ONCE = 10
append = index_writer.IndexWriter.append
def append_and_die(self, block):
    append(self, block)
    os.kill(os.getpid(), signal.SIGKILL)
index_writer.IndexWriter.append = append_and_die
new_index.export_index(*sys.argv[1:])
"""


def test_a_process_that_is_killed_leaves_no_half_of_it(artifact: Path, items: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    words = [sys.executable, "-c", _KILLED, str(artifact), str(items), str(new)]
    done = subprocess.run(words, env=dict(os.environ), capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not new.exists()
    export_index(artifact, items, new)
    verify_artifact(new)


def test_every_item_of_the_artifact_stays_as_it_is(artifact: Path, tmp_path: Path) -> None:
    items = written(tiny_tables().items, tmp_path / "items.parquet")
    change = export_index(artifact, items, tmp_path / "new")
    assert change == IndexChange(
        items=ITEMS, new=0, changed=0, unchanged=ITEMS, kept=0, gone=0, unknown=0, left_out=0
    )


@pytest.fixture(
    scope="module", params=[Precision(index="float16"), Precision(index="int8"), SCORED_AGAIN], ids=str
)
def smaller(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Precision, Path]:
    """An index of another type, and its artifact."""
    out = tmp_path_factory.mktemp("smaller") / "artifact"
    export_artifact(trained, out, ("onnx",), precision=request.param)
    return request.param, out


@pytest.mark.parametrize("add", [False, True])
def test_an_index_of_another_type_stays_one(
    trained: Trained, items: Path, tmp_path: Path, smaller: tuple[Precision, Path], add: bool
) -> None:
    precision, artifact = smaller
    change = export_index(artifact, items, tmp_path / "new", add=add)
    assert (change.new, change.changed, change.unchanged) == (2, 2, 48)
    before, after = (tower_search(folder).index for folder in (artifact, tmp_path / "new"))
    assert after.vectors.values.dtype == before.vectors.values.dtype == np.dtype(precision.index)
    rows = np.arange(10) if add else np.arange(0)
    np.testing.assert_allclose(after.vectors.take(rows), before.vectors.take(rows), rtol=1e-6)
    exact = eager(trained, today())
    ours = after.vectors.take(np.arange(len(rows), len(after)))
    np.testing.assert_allclose(
        ours, exact, atol=np.abs(exact).max() / (254 if precision.index == "int8" else 2048)
    )
    if precision.rescore:
        assert after.rescoring is not None
        np.testing.assert_allclose(after.rescoring[len(rows) :], exact, atol=1e-5)
    verify_artifact(tmp_path / "new")
