"""Checks of members' names: where they would be unpacked to, and what they would hide from Python."""

import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from unicodedata import normalize

from torchtowers.export.findings import Finding
from torchtowers.export.opened import MOST_UNPACKED, OpenArchive

__all__ = ["is_outside", "name_findings", "size_findings"]

# Modules beside the worker's own script, which come before the archive's on its path.
_TORCHSERVE = frozenset(
    {
        *("arg_parser", "async_service", "configs", "context", "handler_utils", "launcher", "llm_launcher"),
        *("metrics", "model_loader", "model_server", "model_service", "model_service_worker", "protocol"),
        *("service", "torch_handler", "utils", "version", "ts"),
    }
)
_LIBRARIES = frozenset({"numpy", "onnxruntime", "packaging", "PIL", "psutil", "torch", "yaml"})
# A deflated file of zeros reaches a thousandth; text, weights and tables stay far from it.
_MOST_RATIO = 200
_SMALL = 1 << 20


def name_findings(archive: OpenArchive) -> Iterator[Finding]:
    """Find names that lead outside, meet each other, or hide a module."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for entry in archive.entries:
        name = entry.name
        if is_outside(name):
            text = "it would be unpacked outside the archive's folder: leave it out, or name it from there"
            yield Finding("unsafe-path", name, text)
        if entry.form not in ("file", "folder"):
            text = f"it is a {entry.form}, which may point anywhere: put the file itself there"
            yield Finding("link", name, text)
        if entry.form == "folder":
            continue
        folded = normalize("NFC", str(PurePosixPath(name))).casefold()
        if folded in seen:
            other = seen[folded]
            same = "twice and the last wins" if other == name else f"beside {other}, one name on some disks"
            yield Finding("colliding-names", name, f"it is there {same}: keep one")
        seen[folded] = name
        for parent in PurePosixPath(folded).parents:
            folders.setdefault(str(parent), name)
        yield from _shadows(name)
    for folded, name in seen.items():
        if folded in folders:
            text = f"it is a file, and a folder with {folders[folded]} inside; rename one"
            yield Finding("colliding-names", name, text)


def size_findings(archive: OpenArchive) -> Iterator[Finding]:
    """Find members that claim to unpack to far more than they are."""
    unpacked = 0
    for entry in archive.entries:
        unpacked += entry.size
        if entry.size > _SMALL and entry.size > _MOST_RATIO * max(entry.packed, 1):
            text = f"{entry.packed:,} bytes unpack to {entry.size:,}, as in a zip bomb: store it instead"
            yield Finding("zip-bomb", entry.name, text)
        if len(entry.name.rpartition("/")[2].encode()) > 255:
            yield Finding("too-large", entry.name[:80], "its name is over 255 bytes: shorten it")
    if unpacked > MOST_UNPACKED:
        text = f"it unpacks to {unpacked:,} bytes, at most {MOST_UNPACKED:,} are sensible: split the model"
        yield Finding("too-large", "", text)
    if archive.form == "zip":
        packed = sum(entry.packed for entry in archive.entries)
        if packed > archive.path.stat().st_size:
            yield Finding("zip-bomb", "", "its members overlap: build it again")


def is_outside(name: str) -> bool:
    """Tell whether a member's name leads out of the archive's folder."""
    path = PurePosixPath(name)
    has_drive = len(name) > 1 and name[1] == ":"
    return path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or has_drive or not name


def _shadows(name: str) -> Iterator[Finding]:
    root, slash, below = name.partition("/")
    module = root if slash and below == "__init__.py" else root.removesuffix(".py")
    if (slash and below != "__init__.py") or (not slash and not root.endswith(".py")):
        return
    if module in _TORCHSERVE:
        text = f"TorchServe's own module {module} is found in its place: give it another name"
        yield Finding("shadowed-module", name, text)
    elif module in sys.stdlib_module_names or module in _LIBRARIES:
        of = "the library's" if module in _LIBRARIES else "the standard library's"
        text = f"it hides {of} {module} from all that the worker imports: give it another name"
        yield Finding("shadowed-module", name, text)
