"""What of an artifact or archive answers, for tests that look inside."""

from pathlib import Path

from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.fused_scorer import FusedScorer
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.loading import Served, find_served
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_scorer import TowerScorer
from torchtowers.handlers.tower_search import TowerSearch


def tower_search(folder: Path, runtime: str = "onnx") -> TowerSearch:
    """Load an artifact's tower and index."""
    signature = Signature.read(folder)
    return TowerSearch.load(folder, find_served(folder, signature, kind="retrieval", runtime=runtime))


def fused_served(folder: Path, runtime: str) -> Served:
    """Tell of an artifact's fused file."""
    return Served(Signature.read(folder).for_serving(runtime, fused=True), runtime)


def runtime_of(model: Recommender | CandidateRanker) -> str:
    """Name what answers: a runtime, or `fused` and one."""
    part = model.search if isinstance(model, Recommender) else model.scorer
    match part:
        case TowerSearch():
            return type(part.tower).name  # type: ignore[attr-defined,no-any-return]
        case TowerScorer():
            return type(part.model).name  # type: ignore[attr-defined,no-any-return]
        case FusedSearch() | FusedScorer():
            return f"fused {type(part.fused).name}"  # type: ignore[attr-defined]
    raise AssertionError(part)
