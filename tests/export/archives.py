"""Archives for tests of what looks at them: foreign ones written by hand, ours with something changed."""

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

HANDLER = "class Handler:\n    def initialize(self, context): ...\n    def handle(self, data, context): ...\n"


def foreign(path: Path, files: Mapping[str, str | bytes], **model: str | None) -> Path:
    """Write a `.mar` as torch-model-archiver does: a handler, what is given, a manifest without hashes."""
    told = {"modelName": "m", "handler": "m_handler.py", "modelVersion": "1.0", **model}
    manifest = {"runtime": "python", "model": {key: value for key, value in told.items() if value}}
    contents = {"m_handler.py": HANDLER, **files}
    contents.setdefault("MAR-INF/MANIFEST.json", json.dumps(manifest))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def contents_of(path: Path) -> dict[str, bytes]:
    """Read a zip file's members, in their order."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, target: Path, changed: Mapping[str, bytes | None]) -> Path:
    """Write an archive again with some members changed, added, or, where None, left out."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in {**contents_of(path), **changed}.items():
            if content is not None:
                archive.writestr(zipfile.ZipInfo(name), content)
    return target


def unpacked(path: Path, folder: Path) -> Path:
    """Unpack an archive as the server does."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            # Python before 3.11.4 knows no filters.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(folder)
        (inside,) = folder.iterdir()
        return inside
    with zipfile.ZipFile(path) as zipped:
        zipped.extractall(folder)
    return folder


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    """Write a tar.gz with empty members."""
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path
