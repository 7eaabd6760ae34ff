"""All of the public surface as TorchScript and as ONNX with a dynamic batch, equal to eager."""

import importlib
import inspect
import io
import pkgutil
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric

import torchtowers.models
from tests.models.exportable import EXPORTABLE, NOT_EXPORTED, VARIANTS
from tests.models.onnx_session import exported

# One first, so that nothing may take a batch of one for a dimension to drop.
BATCHES = (1, 2, 7)


def test_nothing_public_is_left_out() -> None:
    public = set()
    for info in pkgutil.iter_modules(torchtowers.models.__path__):
        module = importlib.import_module(f"torchtowers.models.{info.name}")
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, nn.Module) and not issubclass(value, Metric):
                public.add(name)
    assert public == EXPORTABLE.keys() | NOT_EXPORTED.keys()


@pytest.mark.parametrize("name", EXPORTABLE)
def test_what_is_listed_is_what_its_name_says(name: str) -> None:
    assert type(EXPORTABLE[name][0]()).__name__ == name


@pytest.mark.parametrize("name", [*EXPORTABLE, *VARIANTS])
def test_torchscript_is_equal_to_eager(name: str) -> None:
    make, inputs = {**EXPORTABLE, **VARIANTS}[name]
    module = make().eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(module), file)
    file.seek(0)
    scripted = torch.jit.load(file)  # type: ignore[no-untyped-call]
    for batch in BATCHES:
        given = inputs(batch)
        # Twice and more, since TorchScript rewrites a graph after its first runs.
        for _ in range(3):
            assert_equal(scripted(*given), module(*given))


@pytest.mark.parametrize("name", EXPORTABLE)
def test_onnx_is_equal_to_eager(name: str) -> None:
    make, inputs = EXPORTABLE[name]
    module = make().eval()
    session = exported(module, inputs(2))
    for batch in BATCHES:
        given = inputs(batch)
        feed = dict(zip(session_inputs(session), leaves(given), strict=True))
        wanted = module(*given)
        answers = session.run(None, {key: tensor.numpy() for key, tensor in feed.items()})
        assert_equal([torch.from_numpy(answer) for answer in answers], wanted)


def session_inputs(session: onnxruntime.InferenceSession) -> list[str]:
    return [value.name for value in session.get_inputs()]


def leaves(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [tensor for part in inner for tensor in leaves(part)]


def assert_equal(answer: Any, wanted: Any) -> None:
    ours, theirs = leaves(answer), leaves(wanted)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-5, atol=1e-5)
