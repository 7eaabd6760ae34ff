"""An archive's model-config.yaml as a server takes it."""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from torchtowers.handlers.errors import shorten
from torchtowers.handlers.seal import MANIFEST, read_manifest
from torchtowers.handlers.signature import FILE_NAME
from torchtowers.serving.archives import read_member
from torchtowers.serving.errors import ServingError
from torchtowers.serving.properties import read_properties
from torchtowers.serving.tuning_grid import Setting

__all__ = ["cores", "present_setting", "read_model_config"]


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
