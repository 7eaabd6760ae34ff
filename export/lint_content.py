"""Checks of members' content: pickles, ONNX files and their side files, and what a runtime can load."""

import io
import posixpath
import zipfile
from collections.abc import Collection, Iterator
from typing import Any

from torchtowers.export.findings import Finding
from torchtowers.export.lint_names import is_outside
from torchtowers.export.opened import Entry
from torchtowers.handlers.errors import shorten
from torchtowers.handlers.onnx_file import external_locations

__all__ = ["MOST_ONNX", "onnx_findings", "pickle_findings", "runtime_findings"]

_PICKLES = (".pkl", ".pickle", ".joblib", ".pth", ".ckpt", ".bin", ".dill")
_ADVICE = "loading it can run any code: use TorchScript, ONNX or safetensors"
# An ONNX file of protobuf is never larger.
MOST_ONNX = 1 << 31
_NPY = b"\x93NUMPY"


def pickle_findings(entry: Entry) -> Iterator[Finding]:
    """Find a pickle, by its content whatever its name."""
    head = entry.head(512)
    if head.startswith(b"PK\x03\x04"):
        if _zip_kind(entry) == "pickle":
            yield Finding("pickle", entry.name, f"it is torch.save's, a pickle: {_ADVICE}")
    elif head.startswith(_NPY):
        if b"'descr': '|O'" in head:
            yield Finding("pickle", entry.name, f"its array holds Python objects, as a pickle: {_ADVICE}")
    elif (len(head) > 1 and head[0] == 0x80 and head[1] <= 5) or (
        entry.name.endswith(_PICKLES) and head[:1] in (b"(", b"c", b"]", b"}")
    ):
        yield Finding("pickle", entry.name, f"it is a pickle: {_ADVICE}")


def onnx_findings(entry: Entry, files: Collection[str]) -> Iterator[Finding]:
    """Check that an ONNX file can be read, and that the files with its weights are there."""
    try:
        import onnx
    except ImportError:
        text = "not looked into: pip install 'torchtowers[onnx]'"
        yield Finding("onnx-not-checked", entry.name, text, "warning")
        return
    try:
        content = entry.read(MOST_ONNX)
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, which onnx does not name
        yield Finding("runtime-mismatch", entry.name, f"it is no ONNX model that can be read ({error})")
        return
    if not model.graph.node:
        yield Finding("runtime-mismatch", entry.name, "it is no ONNX model: it has no operator")
    for location in sorted(external_locations(content, entry.name)):
        name = posixpath.normpath(posixpath.join(posixpath.dirname(entry.name), location))
        if is_outside(location) or is_outside(name):
            text = f"its weights are in {shorten(location)}, outside the archive: export it with a plain name"
            yield Finding("unsafe-path", entry.name, text)
        elif name not in files:
            text = f"its weights are in {location}, which is not in the archive: add it as an extra file"
            yield Finding("missing-onnx-side-file", entry.name, text)


def runtime_findings(entry: Entry, handler: str, has_model_file: bool) -> Iterator[Finding]:
    """Compare a manifest's serialized file with its name and with what TorchServe's own handlers can load.

    Args:
        entry: The serialized file.
        handler: The manifest's handler.
        has_model_file: Whether the manifest names a file that defines the model.
    """
    name = entry.name
    is_built_in = "base_handler" in handler or not handler.endswith(".py")
    if name.endswith(".pt") and not has_model_file and _zip_kind(entry) != "torchscript":
        text = "it is no TorchScript, and no model file is there for weights: script it, or add one"
        yield Finding("runtime-mismatch", name, text)
    if not is_built_in:
        return
    if name.endswith((".onnx", ".pt2")):
        text = f"TorchServe's {handler} can't run it: write a handler of its own"
        yield Finding("runtime-mismatch", name, text)
    elif not name.endswith((".pt", ".so")) and not has_model_file:
        text = f"TorchServe's {handler} loads .pt, .onnx and .so, or weights with a model file"
        yield Finding("runtime-mismatch", name, text)


def _zip_kind(entry: Entry) -> str:
    """Tell TorchScript from a pickle and from any other zip file, by the names inside."""
    try:
        with entry.opener() as file:
            source: Any = file if file.seekable() else io.BytesIO(entry.read())
            with zipfile.ZipFile(source) as inner:
                names = inner.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "other"
    ends = {name.partition("/")[2] for name in names}
    if "data.pkl" not in ends:
        return "other"
    # TorchScript's own pickle names no Python class; torch.jit.load reads it without the pickle module.
    return "torchscript" if "constants.pkl" in ends else "pickle"
