"""What weights and index are exported as, and how much of the answers that may cost."""

from dataclasses import dataclass, replace

from torchtowers.export.errors import ExportError
from torchtowers.export.loss import MAX_LOSS
from torchtowers.handlers.vectors import DTYPES
from torchtowers.models.experiment import Trained
from torchtowers.models.ranker import Ranker
from torchtowers.models.smaller import smaller

__all__ = ["Precision"]


@dataclass(frozen=True)
class Precision:
    """What an artifact's numbers are kept as.

    Args:
        weights: Of towers or a ranking model: `float32`, `float16` or `int8`.
        index: Of the candidates' embeddings, likewise.
        rescore: Whether float32 embeddings are kept beside an int8 index, and the best are scored by them.
        max_loss: The largest share of the trained model's best 10, or best 100, that may be lost; 1 allows
            all.

    Raises:
        ExportError: A value is none of these, or they don't go together.
    """

    weights: str = "float32"
    index: str = "float32"
    rescore: bool = False
    max_loss: float = MAX_LOSS

    def __post_init__(self) -> None:
        """Refuse what is none of these."""
        for name, value in (("weights", self.weights), ("index", self.index)):
            if value not in DTYPES:
                raise ExportError(f"{name}: expected one of {', '.join(DTYPES)}, got {value!r}")
        if self.rescore and self.index != "int8":
            raise ExportError(f"only an int8 index is scored again, this one is {self.index}: choose int8")
        if not 0 <= self.max_loss <= 1:
            raise ExportError(f"max_loss: expected a share from 0 to 1, got {self.max_loss:g}")

    @property
    def is_smaller(self) -> bool:
        """Whether answers can be others than the trained model's."""
        return self.weights != "float32" or self.index != "float32"

    def applied(self, trained: Trained) -> Trained:
        """Give the run with the model that is exported.

        Raises:
            ExportError: The model has no index, or its weights can't be made smaller.
        """
        if isinstance(trained.model, Ranker) and self.index != "float32":
            raise ExportError("a ranking model has no index: leave --index out")
        if self.weights == "float32":
            return trained
        try:
            return replace(trained, model=smaller(trained.model, self.weights))
        except ValueError as error:
            raise ExportError(str(error)) from error
