import pytest

from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.execution import ON_CPU, PRECISIONS, Execution


def test_the_device_is_named_as_torch_names_it() -> None:
    assert (ON_CPU.device, Execution(gpu_id=0).device, Execution(gpu_id=3).device) == (
        "cpu",
        "cuda:0",
        "cuda:3",
    )


def test_only_float32_is_not_half() -> None:
    assert [name for name in PRECISIONS if not Execution(precision=name).is_half] == ["float32"]


@pytest.mark.parametrize("name", ["half", "bf16", "int8", "", "Float16"])
def test_an_unknown_precision_is_refused(name: str) -> None:
    with pytest.raises(ArtifactError, match=r"^precision: expected one of float32, bfloat16, float16, got "):
        Execution(precision=name)


def test_a_file_of_fixed_types_takes_float32_only() -> None:
    ON_CPU.refuse_half("a stone")
    with pytest.raises(
        ArtifactError, match=r"precision is float16, but a stone computes in .* --runtime torchscript"
    ):
        Execution(precision="float16").refuse_half("a stone")
