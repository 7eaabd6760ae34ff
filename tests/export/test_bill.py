import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.export.archives import contents_of
from torchtowers.export.archive import BILL
from torchtowers.export.bill import make_bill, write_bills
from torchtowers.export.errors import ExportError
from torchtowers.handlers.signature import Signature

pytest.importorskip("cyclonedx", reason="needs cyclonedx-python-lib: pip install 'torchtowers[release]'")

NEEDED = {"onnx": "onnxruntime", "torchscript": "torch"}


@pytest.mark.parametrize("runtime", NEEDED)
def test_the_archive_tells_what_a_worker_has_to_have_installed(archives: Path, runtime: str) -> None:
    bill = json.loads(contents_of(archives / f"tiny-{runtime}.mar")[BILL])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    found = {entry["name"]: entry["version"] for entry in bill["components"]}
    assert {"numpy", NEEDED[runtime]} <= set(found)
    assert not {"torchtowers", "polars", "pytest", "torchserve"} & set(found)
    assert ("torch" in found) == (runtime == "torchscript")
    for name, installed in found.items():
        assert version(name) == installed
    purls = {entry["purl"] for entry in bill["components"]}
    # What it needs itself, and what that needs, down to the last.
    reached, waiting = set(), ["model"]
    depends_on = {entry["ref"]: entry.get("dependsOn", []) for entry in bill["dependencies"]}
    assert depends_on["model"] == sorted(
        f"pkg:pypi/{name}@{version(name)}".replace("+", "%2B") for name in ("numpy", NEEDED[runtime])
    )
    while waiting:
        reached.add(here := waiting.pop())
        waiting += [other for other in depends_on[here] if other not in reached]
    assert reached - {"model"} == purls


def test_the_bill_is_valid_cyclonedx(artifact: Path) -> None:
    from cyclonedx.model.bom import Bom

    for path in (artifact / "bills").iterdir():
        bom = Bom.from_json(json.loads(path.read_text()))  # type: ignore[attr-defined]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bom.validate()
        assert len(bom.components) > 4


def test_the_same_packages_give_the_same_text() -> None:
    first = make_bill("retrieval model", ["numpy", "onnxruntime"])
    assert first == make_bill("retrieval model", ["onnxruntime", "numpy"])
    content = json.loads(first)
    assert "serialNumber" not in content
    assert "timestamp" not in content["metadata"]


def test_what_is_not_installed_is_an_error() -> None:
    with pytest.raises(ExportError, match="bill of materials: no-such-package is not installed"):
        make_bill("m", ["no_such_package"])


def test_without_the_library_there_is_none_and_it_is_said(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cyclonedx", None)
    said: list[str] = []
    write_bills(tmp_path, Signature.read(artifact), log=said.append)
    assert said == ["no bill of materials is written: pip install 'torchtowers[release]'"]
    assert not list(tmp_path.iterdir())
