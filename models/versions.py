"""The versions that made a run or an artifact."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed_versions"]


def installed_versions(*packages: str) -> dict[str, str]:
    """Give Python's version and those of the packages that are installed."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
