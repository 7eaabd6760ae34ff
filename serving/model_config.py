"""An archive's model-config.yaml as a server takes it."""

import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from torchtowers.handlers.agreement import Tolerance
from torchtowers.handlers.errors import shorten
from torchtowers.handlers.seal import MANIFEST, read_manifest
from torchtowers.handlers.settings import Settings
from torchtowers.handlers.signature import FILE_NAME
from torchtowers.serving.archives import choose_archives, read_member
from torchtowers.serving.errors import ServingError
from torchtowers.serving.properties import read_properties
from torchtowers.serving.tuning_grid import Setting

__all__ = ["answer_tolerance", "cores", "present_setting", "read_model_config", "served_tolerance"]


def read_model_config(path: Path) -> dict[str, Any]:
    """Read the model-config.yaml that an archive's manifest names; an archive may have none.

    Raises:
        ServingError: It can't be read, or is no mapping.
    """
    try:
        model = read_manifest(read_member(path, MANIFEST)).get("model")
        name = model.get("configFile") if isinstance(model, dict) else None
        content = yaml.safe_load(read_member(path, name)) if name else None
    except (KeyError, OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ServingError(f"{path}: model-config.yaml can't be read: {shorten(str(error))}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ServingError(f"{path}: model-config.yaml is no YAML: {shorten(str(error))}") from None
    if content is not None and not isinstance(content, dict):
        raise ServingError(f"{path}: model-config.yaml has to hold a mapping, got {shorten(content)}")
    return content or {}


def answer_tolerance(path: Path) -> Tolerance:
    """Give how far two answers of an archive's model to one request may differ, by its precision.

    Raises:
        ServingError: Its model-config.yaml can't be read.
        ArtifactError: Our own settings in it are wrong.
    """
    try:
        signature = json.loads(read_member(path, FILE_NAME))
        kind = str(signature.get("kind"))
    except (KeyError, FileNotFoundError):
        return Tolerance()  # the settings are none of ours
    except (ValueError, AttributeError, RecursionError) as error:
        raise ServingError(f"{path}: {FILE_NAME} can't be read: {shorten(str(error))}") from None
    return Settings.from_config(read_model_config(path)).tolerance(kind)


def served_tolerance(model_store: Path, name: str, version: str | None = None) -> Tolerance:
    """Give `answer_tolerance` of a model in a store, the widest where it may be one of several archives.

    Args:
        model_store: The folder with the archives; where the model's is not there, float32 is taken for it.
        name: The model's name.
        version: The model's version; None for any.
    """
    try:
        archives = choose_archives(model_store, name)
    except ServingError:
        return Tolerance()
    paths = [model_store / archive.file for archive in archives if version in (None, archive.version)]
    return max(map(answer_tolerance, paths), key=lambda found: found.scores, default=Tolerance())


def present_setting(path: Path, content: Mapping[str, Any], config: Path) -> Setting:
    """Give the setting that an archive is served with now.

    Args:
        path: The archive.
        content: Its model-config.yaml, parsed.
        config: The `config.properties`.

    Raises:
        ServingError: A value is out of range, or the configuration can't be read.
    """
    default = read_properties(config).values.get("default_workers_per_model", "0")
    workers = int(default) if default.isdecimal() else 0
    try:
        read_member(path, FILE_NAME)
        threads: int | None = 1
    except (KeyError, FileNotFoundError):
        threads = None  # the key is our handlers'
    return Setting.of_config(content, workers=workers or cores(), threads=threads)


def cores() -> int:
    """Give how many cores this process may use; TorchServe, which it starts, may use the same."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
