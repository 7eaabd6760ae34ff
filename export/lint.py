"""What is likely to go wrong with an archive on a server, whoever built it; nothing of it is run."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from torchtowers.export.archive import BILL
from torchtowers.export.bill import BILLS
from torchtowers.export.config_keys import config_faults
from torchtowers.export.findings import Finding
from torchtowers.export.layout import layout_findings
from torchtowers.export.lint_content import MOST_ONNX, onnx_findings, pickle_findings, runtime_findings
from torchtowers.export.lint_handler import BUILT_IN, handler_file, handler_findings
from torchtowers.export.lint_names import name_findings, size_findings
from torchtowers.export.opened import OpenArchive, open_archive
from torchtowers.export.verify import content_findings, manifest_of
from torchtowers.handlers.combined_signature import AnySignature, any_signature
from torchtowers.handlers.errors import ArtifactError, shorten
from torchtowers.handlers.onnx_file import external_locations, unlisted_locations
from torchtowers.handlers.seal import MANIFEST
from torchtowers.handlers.settings import Settings
from torchtowers.handlers.signature import FILE_NAME

__all__ = ["lint_archive"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
# TorchServe's default of max_response_size; a worker whose answer is over it is killed.
_MOST_ANSWER = 6_553_500


def lint_archive(path: str | Path) -> list[Finding]:
    """Check an archive.

    Args:
        path: A `.mar`, a `.tar.gz` or a directory.

    Returns:
        What was found, errors first.
    """
    try:
        with open_archive(path) as archive:
            found = [*size_findings(archive), *name_findings(archive), *layout_findings(archive)]
            # A bomb is not to be unpacked, not even to look at it.
            if not any(finding.name in ("zip-bomb", "encrypted", "too-large") for finding in found):
                found += _inside(archive)
    except ArtifactError as error:
        found = [Finding("unreadable", "", str(error))]
    return sorted(found, key=lambda finding: (finding.kind != "error", finding.name, finding.member))


def _inside(archive: OpenArchive) -> Iterator[Finding]:
    files = archive.files
    try:
        manifest = manifest_of(files)
    except ArtifactError as error:
        yield Finding("manifest", MANIFEST, str(error))
        manifest = {}
    else:
        model = manifest.get("model")
        if isinstance(model, dict):
            yield from _named_files(archive, model, manifest)
        else:
            yield Finding("manifest", MANIFEST, "it has no model: package the archive again")
    for name, entry in files.items():
        try:
            yield from pickle_findings(entry)
            if name.endswith(".onnx"):
                yield from onnx_findings(entry, files)
        except ArtifactError as error:
            yield Finding("damaged", name, str(error))
    yield from content_findings(archive, manifest)
    if FILE_NAME in files:
        yield from _ours(archive, manifest)


def _named_files(
    archive: OpenArchive, model: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[Finding]:
    """Check what the manifest names: the handler, the model's files, the configuration."""
    files = archive.files
    for key in ("modelName", "handler"):
        if not isinstance(model.get(key), str):
            yield Finding("manifest", MANIFEST, f"model.{key} is missing: package the archive again")
    name = model.get("modelName")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        yield Finding("manifest", MANIFEST, f"model.modelName {shorten(name)} is none for a URL: rename it")
    runtime = manifest.get("runtime")
    if runtime not in ("python", "python3", "LSP"):
        yield Finding("manifest", MANIFEST, f"runtime {shorten(runtime)}: expected python or LSP")
    for key in ("serializedFile", "modelFile", "configFile", "requirementsFile"):
        named = model.get(key)
        if named is not None and named not in files:
            yield Finding("missing-file", shorten(named), f"model.{key} names it: add it to the archive")
    handler = model.get("handler")
    handler = handler if isinstance(handler, str) else ""
    source = files.get(handler_file(handler))
    if handler and handler not in BUILT_IN and runtime != "LSP":
        if source is None:
            yield Finding("no-handler", handler_file(handler), "the manifest names it: add it to the archive")
        else:
            yield from handler_findings(handler, source.read())
    serialized = files.get(str(model.get("serializedFile")))
    if serialized is not None and runtime != "LSP":
        builtin = handler if handler in BUILT_IN else f"{handler_file(handler)}"
        yield from runtime_findings(serialized, builtin, model.get("modelFile") is not None)
    elif handler in BUILT_IN and model.get("modelFile") is None:
        yield Finding("no-model", "", f"{handler} has nothing to load: name it with --serialized-file")
    config = files.get(str(model.get("configFile")))
    if config is not None:
        yield from _config(config.name, config.read())


def _config(name: str, text: bytes) -> Iterator[Finding]:
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        yield Finding("invalid-yaml", name, f"TorchServe would run with its defaults ({reason}): mend it")
        return
    for kind, key, text_of in config_faults(content):
        check = "unknown-config-key" if kind == "unknown" else "mistyped-config-key"
        yield Finding(check, name, f"{key}: {text_of}".lstrip(": "))
    settings = content.get("torchtowers") if isinstance(content, dict) else None
    if isinstance(settings, dict):
        try:
            limits = Settings.from_config(content).limits
        except ArtifactError as error:
            yield Finding("mistyped-config-key", name, str(error))
            return
        if limits.max_answer_bytes > _MOST_ANSWER:
            text_of = (
                f"torchtowers.max_answer_bytes {limits.max_answer_bytes:,} is over the server's "
                f"max_response_size, {_MOST_ANSWER:,} by default: a worker that answers more is killed"
            )
            yield Finding("over-server-limit", name, text_of, "warning")


def _ours(archive: OpenArchive, manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Check what our own signature says against the manifest."""
    try:
        signature = any_signature(json.loads(archive.files[FILE_NAME].read()))
    except (ArtifactError, ValueError, RecursionError):
        return  # content_findings has told
    model = manifest.get("model")
    served = {file for files in (*signature.towers.values(), signature.fused) for file in files.values()}
    chosen = model.get("serializedFile") if isinstance(model, dict) else None
    if chosen not in served:
        text = f"the signature's are {', '.join(sorted(served))}: package one of them as the serialized file"
        yield Finding("runtime-mismatch", shorten(chosen), text)
    for name in sorted(signature.used_files() & archive.files.keys()):
        if name.endswith(".onnx"):
            yield from _unlisted(archive, signature, name)
    if BILL not in archive.files and not any(name.startswith(f"{BILLS}/") for name in archive.files):
        text = "it says not what a worker has to have installed: export with 'torchtowers[release]' installed"
        yield Finding("no-bill-of-materials", "", text, "warning")


def _unlisted(archive: OpenArchive, signature: AnySignature, name: str) -> Iterator[Finding]:
    """Find weights that a worker refuses, since nothing says what they have to be."""
    try:
        locations = external_locations(archive.files[name].read(MOST_ONNX), name)
    except ArtifactError:
        return  # onnx_findings has told
    for location in unlisted_locations(locations, name, signature.files):
        text = f"its weights are in {shorten(location)}, of which {FILE_NAME} has no sha256: export it again"
        yield Finding("signature", name, text)
