"""Where and in what precision a model computes."""

from dataclasses import dataclass

from torchtowers.handlers.errors import ArtifactError, shorten

__all__ = ["ON_CPU", "PRECISIONS", "Execution"]

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Execution:
    """What a model is loaded for.

    Args:
        gpu_id: The CUDA device for the model and its index; None for the CPU.
        threads: Of one operation on the CPU; None leaves them to the runtime.
        precision: Of products of matrices, one of `PRECISIONS`; only TorchScript computes in another than
            float32.

    Raises:
        ArtifactError: The precision is unknown.
    """

    gpu_id: int | None = None
    threads: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        """Refuse an unknown precision."""
        if self.precision not in PRECISIONS:
            raise ArtifactError(
                f"precision: expected one of {', '.join(PRECISIONS)}, got {shorten(self.precision)}"
            )

    @property
    def device(self) -> str:
        """The device by torch's name for it."""
        return "cpu" if self.gpu_id is None else f"cuda:{self.gpu_id}"

    @property
    def is_half(self) -> bool:
        """Whether products are computed in half precision."""
        return self.precision != "float32"

    def refuse_half(self, what: str) -> None:
        """Refuse half precision for a file of fixed types.

        Args:
            what: The kind of file.

        Raises:
            ArtifactError: Half precision is asked for.
        """
        if self.is_half:
            raise ArtifactError(
                f"torchtowers.precision is {self.precision}, but {what} computes in the types that it was "
                "exported with: build the archive with --runtime torchscript and without --fused, or leave "
                "precision out"
            )


ON_CPU = Execution()
