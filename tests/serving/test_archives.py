import json
import zipfile
from pathlib import Path

import pytest

from tests.servers import write_archive
from torchtowers.export.archive import build_archive
from torchtowers.serving.archives import choose_archives
from torchtowers.serving.errors import ServingError


def _manifest(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", text)


@pytest.mark.parametrize(
    ("models", "arguments"),
    [
        ("all", ["a-1.mar", "a-2.mar", "b.mar"]),
        (" ALL ", ["a-1.mar", "a-2.mar", "b.mar"]),
        ("b.mar", ["b.mar"]),
        ("b, a-2.mar,", ["b.mar", "a-2.mar"]),
        ("a", ["a-1.mar", "a-2.mar"]),
        ("movies=b.mar", ["movies=b.mar"]),
    ],
)
def test_which_archives_are_meant(store: Path, models: str, arguments: list[str]) -> None:
    write_archive(store, "a", version="1.0", file="a-1.mar")
    write_archive(store, "a", version="2.0", file="a-2.mar")
    write_archive(store, "b")
    (store / "README.md").write_text("no archive")
    (store / "folder").mkdir()
    assert [archive.argument for archive in choose_archives(store, models)] == arguments


def test_tar_files_and_directories_are_archives_too(artifact: Path, store: Path) -> None:
    for form, name in (("tgz", "tar"), ("no-archive", "folder"), ("default", "zip")):
        build_archive(artifact, name=name, version="3.1", export_path=store, archive_format=form)
    (store / "other").mkdir()
    (store / "notes.tar.gz").write_text("no archive")
    with pytest.raises(ServingError, match=r"notes\.tar\.gz: not an archive \(not a gzip file\)"):
        choose_archives(store, "notes.tar.gz")
    told: list[str] = []
    chosen = choose_archives(store, "all", left_out=told.append)
    assert told == [
        f"left out: {store / 'notes.tar.gz'}: not an archive (not a gzip file): build it again with "
        "`torchtowers archive build`, or move it out of the model store"
    ]
    found = [(found.file, found.name, found.version) for found in chosen]
    assert found == [("folder", "folder", "3.1"), ("tar.tar.gz", "tar", "3.1"), ("zip.mar", "zip", "3.1")]
    for models in ("tar,folder", "tar.tar.gz,folder"):
        assert [found.argument for found in choose_archives(store, models)] == ["tar.tar.gz", "folder"]
    assert choose_archives(store, "x=tar.tar.gz")[0].argument == "x=tar.tar.gz"
    with pytest.raises(ServingError, match=r"other: MAR-INF/MANIFEST\.json can't be read"):
        choose_archives(store, "x=other")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x05\0\xfa\xff12345"])
def test_a_tar_that_is_cut_short(store: Path, content: bytes) -> None:
    (store / "m.tar.gz").write_bytes(content)
    with pytest.raises(ServingError, match=r"m\.tar\.gz: .*build it again"):
        choose_archives(store, "all")


def test_an_archive_without_name_and_version_has_torchserves(store: Path) -> None:
    _manifest(store / "plain.mar", json.dumps({"model": {}}))
    (archive,) = choose_archives(store, "all")
    assert (archive.name, archive.version) == ("plain", "1.0")


def test_a_broken_archive_stands_in_nobody_elses_way(store: Path) -> None:
    write_archive(store, "good")
    (store / "broken.mar").write_text("no zip")
    assert [archive.file for archive in choose_archives(store, "good")] == ["good.mar"]
    assert [archive.file for archive in choose_archives(store, "all")] == ["good.mar"]
    for models in ("broken", "broken.mar"):
        with pytest.raises(ServingError, match=r"broken\.mar: not an archive"):
            choose_archives(store, models)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "MANIFEST.json can't be read"),
        ("[]", "MANIFEST.json can't be read"),
        ('{"model": null}', "MANIFEST.json can't be read"),
        ("{}", r"not an archive \(model\)"),
    ],
)
def test_a_manifest_that_is_none(store: Path, text: str, message: str) -> None:
    _manifest(store / "bad.mar", text)
    with pytest.raises(ServingError, match=message) as caught:
        choose_archives(store, "bad.mar")
    assert "torchtowers archive build" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_without_manifest(store: Path) -> None:
    with zipfile.ZipFile(store / "bad.mar", "w") as archive:
        archive.writestr("handler.py", "")
    with pytest.raises(ServingError, match=r"bad\.mar: not an archive \(.*MAR-INF/MANIFEST\.json"):
        choose_archives(store, "all")


@pytest.mark.parametrize("models", ["x", "x.mar", "name=x.mar", "../a.mar", "name=folder/a.mar"])
def test_an_archive_that_is_not_there(store: Path, models: str) -> None:
    write_archive(store, "a")
    write_archive(store.parent, "a")
    with pytest.raises(ServingError, match=r"no such archive in the model store, which holds a\.mar$"):
        choose_archives(store, models)


def test_the_same_model_twice(store: Path) -> None:
    write_archive(store, "a")
    write_archive(store, "a", file="copy.mar")
    with pytest.raises(ServingError, match=r"^a\.mar and copy\.mar both hold a 1\.0: "):
        choose_archives(store, "all")
    assert len(choose_archives(store, "a.mar,other=copy.mar")) == 2


@pytest.mark.parametrize("models", ["all", "", ","])
def test_nothing_to_serve(store: Path, models: str) -> None:
    with pytest.raises(ServingError, match="archive"):
        choose_archives(store, models)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no such model store"):
        choose_archives(tmp_path / "none", "all")
