"""The examples in docstrings, run as they stand."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

from tests.test_layout import ROOT, SOURCES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_give_what_they_show(path: Path) -> None:
    name = ".".join(("torchtowers", *path.relative_to(ROOT).with_suffix("").parts))
    module = importlib.import_module(name.removesuffix(".__init__"))
    # An example may take `import torch` for granted, as its reader does.
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, _ = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=flags)
    assert failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder()
    module = importlib.import_module("torchtowers.models.retrieval")
    assert any(test.examples for test in finder.find(module))
