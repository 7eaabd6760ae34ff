"""Checks of the handler: TorchServe wants a function, or exactly one class defined in the file."""

import ast
from collections.abc import Iterator

from torchtowers.export.findings import Finding

__all__ = ["BUILT_IN", "handler_file", "handler_findings"]

# Handlers that TorchServe brings along.
BUILT_IN = frozenset(
    {
        *("base_handler", "dali_image_classifier", "image_classifier", "image_segmenter", "object_detector"),
        *("text_classifier", "trt_llm_handler", "vllm_handler"),
    }
)


def handler_file(handler: str) -> str:
    """Give the file of a manifest's handler, `file.py`, `module` or `module:function`."""
    module = handler.partition(":")[0]
    return module if module.endswith(".py") else f"{module}.py"


def handler_findings(handler: str, source: bytes) -> Iterator[Finding]:
    """Read a handler without running it.

    Args:
        handler: The manifest's.
        source: The file's content.
    """
    file = handler_file(handler)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        yield Finding("handler-syntax", file, f"it is no Python that can be read ({error}): mend it")
        return
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    entry = handler.partition(":")[2] or "handle"
    # Imported or assigned names serve as well, and can't be told from here.
    bound = functions | {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
    }
    if entry in bound:
        return
    if ":" in handler:
        yield Finding("handler-function", file, f"it has no function {entry}, which the manifest names")
        return
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        names = ", ".join(node.name for node in classes) or "none"
        text = f"expected exactly one class defined here, or a function handle; there are: {names}"
        yield Finding("handler-class", file, text)
        return
    (only,) = classes
    methods = {node.name for node in only.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    missing = {"initialize", "handle"} - methods
    if missing and not only.bases:
        text = f"class {only.name} has no {' and no '.join(sorted(missing))}, which TorchServe calls"
        yield Finding("handler-class", file, text)
