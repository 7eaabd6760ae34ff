"""A model-config.yaml that a person or a measurement wrote, checked before an archive takes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from torchtowers.export.config_keys import config_faults
from torchtowers.export.errors import ExportError
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.settings import Settings

__all__ = ["read_config"]


def read_config(path: Path, *, ours: bool = True) -> tuple[bytes, Mapping[str, Any]]:
    """Read a model-config.yaml for an archive.

    Args:
        path: The file.
        ours: Whether our handlers will read it; others may have keys of their own.

    Returns:
        Its bytes, and what they say.

    Raises:
        ExportError: It can't be read, or TorchServe or our handlers would refuse or pass over a key of it.
    """
    try:
        text = path.read_bytes()
        content = yaml.safe_load(text)
    except OSError as error:
        raise ExportError(f"{path} can't be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ExportError(f"{path} is no YAML: {' '.join(str(error).split())[:200]}") from error
    for kind, key, fault in config_faults(content):
        if ours or kind != "unknown":
            raise ExportError(f"{path}: {key}: {fault}".replace(": : ", ": "))
    if content is None:
        return text, {}
    if ours:
        try:
            Settings.from_config(content)
        except ArtifactError as error:
            raise ExportError(f"{path}: {error}") from error
    return text, content
