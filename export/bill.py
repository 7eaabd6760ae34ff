"""Bills of materials in CycloneDX 1.6: the installed packages that a worker needs to run a model."""

import importlib.metadata
import json
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from torchtowers.export.errors import ExportError
from torchtowers.handlers.combined_signature import AnySignature

__all__ = ["BILLS", "make_bill", "write_bills"]

# In an artifact, `bills/RUNTIME.cdx.json`.
BILLS = "bills"

# By the runtime, distributions of which the first that is installed is needed. The server is no part of it.
_NEEDED = {
    "onnx": ("onnxruntime", "onnxruntime-gpu"),
    "torchscript": ("torch",),
    "pt2": ("torch",),
}


def write_bills(
    folder: Path, signature: AnySignature, *, log: Callable[[str], None] = lambda _: None
) -> None:
    """Write a bill for each runtime, from what is installed where the model is exported and verified.

    Args:
        folder: The artifact.
        signature: Its signature.
        log: Told where there is none.
    """
    try:
        import cyclonedx  # noqa: F401
    except ImportError:
        log("no bill of materials is written: pip install 'torchtowers[release]'")
        return
    (folder / BILLS).mkdir()
    for runtime in signature.towers:
        text = make_bill(f"{signature.kind} model", ["numpy", _installed(_NEEDED.get(runtime, ()))])
        (folder / BILLS / f"{runtime}.cdx.json").write_text(text, encoding="utf-8")


def make_bill(name: str, needed: Iterable[str]) -> str:
    """Describe distributions with all that they depend on; the same text for the same installed versions.

    Args:
        name: Of the model.
        needed: Distributions that it needs itself.

    Raises:
        ExportError: A distribution is not installed.
    """
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    needed = sorted({canonicalize_name(distribution) for distribution in needed})
    installed = _closure(needed)
    components = {key: _component(found) for key, (found, _) in installed.items()}
    bom = Bom(components=components.values())
    bom.metadata.component = Component(name=name, type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref="model")
    bom.register_dependency(bom.metadata.component, [components[key] for key in needed])
    for key, (_, depends_on) in installed.items():
        bom.register_dependency(components[key], [components[other] for other in depends_on])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    # Neither is required, and both would make two bills of the same packages differ.
    del content["serialNumber"], content["metadata"]["timestamp"]
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _installed(names: Iterable[str]) -> str:
    names = list(names)
    for name in names:
        try:
            return importlib.metadata.distribution(name).metadata["Name"]
        except importlib.metadata.PackageNotFoundError:
            continue
    raise ExportError(f"bill of materials: {' or '.join(names) or 'the runtime'} is not installed")


def _closure(names: Iterable[str]) -> dict[str, tuple[importlib.metadata.Distribution, list[str]]]:
    """Find what is installed of the named and of all that they require, each with what it requires."""
    found: dict[str, tuple[importlib.metadata.Distribution, list[str]]] = {}
    waiting = [(name, frozenset[str]()) for name in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            if found:  # a dependency that the installation does without
                continue
            raise ExportError(f"bill of materials: {name} is not installed") from error
        required = _requirements(distribution, extras)
        depends_on = found.get(name, (distribution, []))[1]
        found[name] = (distribution, sorted({*depends_on, *(other for other, _ in required)}))
        for requirement in required:
            if requirement not in seen:
                seen.add(requirement)
                waiting.append(requirement)
    return {
        name: (distribution, [other for other in depends_on if other in found])
        for name, (distribution, depends_on) in sorted(found.items())
    }


def _requirements(
    distribution: importlib.metadata.Distribution, extras: frozenset[str]
) -> list[tuple[str, frozenset[str]]]:
    required: list[tuple[str, frozenset[str]]] = []
    for line in distribution.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            required.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return required


def _component(distribution: importlib.metadata.Distribution) -> Any:
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

    name, version = canonicalize_name(distribution.metadata["Name"]), distribution.version
    purl = PackageURL("pypi", name=name, version=version)
    metadata = distribution.metadata
    given = next((metadata[key] for key in ("License-Expression", "License") if metadata[key]), "")
    # Some put the whole text there.
    short = given if given and len(given) < 200 and "\n" not in given else None
    licenses = [LicenseFactory().make_from_string(short)] if short else []
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl), licenses=licenses)
