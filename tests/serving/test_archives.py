import json
import zipfile
from pathlib import Path

import pytest

from tests.servers import write_archive
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


def test_an_archive_without_name_and_version_has_torchserves(store: Path) -> None:
    _manifest(store / "plain.mar", json.dumps({"model": {}}))
    (archive,) = choose_archives(store, "all")
    assert (archive.name, archive.version) == ("plain", "1.0")


def test_a_broken_archive_stands_in_nobody_elses_way(store: Path) -> None:
    write_archive(store, "good")
    (store / "broken.mar").write_text("no zip")
    assert [archive.file for archive in choose_archives(store, "good")] == ["good.mar"]
    for models in ("all", "broken", "broken.mar"):
        with pytest.raises(ServingError, match=r"broken\.mar: not a \.mar archive"):
            choose_archives(store, models)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "MANIFEST.json can't be read"),
        ("[]", "MANIFEST.json can't be read"),
        ('{"model": null}', "MANIFEST.json can't be read"),
        ("{}", r"not a \.mar archive \(model\)"),
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
    with pytest.raises(ServingError, match=r"bad\.mar: not a \.mar archive \(.*MAR-INF/MANIFEST\.json"):
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
