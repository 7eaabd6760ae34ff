"""The kinds of models that a configuration can name."""

from torchtowers.models.config import RunConfig
from torchtowers.models.kind import Kind
from torchtowers.models.ranking_kind import RankingKind
from torchtowers.models.retrieval_kind import MultiTaskKind, SequentialKind, TwoTowerKind

__all__ = ["kind_of"]

_KINDS: dict[str, Kind] = {
    "two_tower": TwoTowerKind(),
    "sequential": SequentialKind(),
    "multi_task": MultiTaskKind(),
    "ranking": RankingKind(),
}


def kind_of(config: RunConfig) -> Kind:
    """Give the kind of a configuration's model."""
    return _KINDS[config.model.kind]
