"""Both small models one after the other: `small.py` finds, `small_ranking.py` orders.

The ranking model knows the items "10" to "12" as its own; "13" is put down as unknown.
"""

from pathlib import Path

import numpy as np

from tests.handlers.small import small_recommender, small_signature
from tests.handlers.small_ranking import small_ranking_model, small_ranking_signature, small_scorer
from torchtowers.handlers.combined_signature import CombinedSignature
from torchtowers.handlers.item_inputs import ItemInputs
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.runtime import Tower
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender


def small_combined_signature() -> CombinedSignature:
    """Give a signature that names no file's sha256."""
    return CombinedSignature(
        retrieval=small_signature(),
        ranking=small_ranking_signature(),
        candidates=3,
        item_rows="items/rows.npy",
        item_ids="items/ids.npy",
        versions={"python": "3.11"},
        files={},
    )


def small_two_stages(
    folder: Path, *, limits: Limits | None = None, model: Tower = small_ranking_model
) -> TwoStageRecommender:
    """Make both stages, with the files of their encoders in `folder`."""
    limits = limits or Limits()
    scorer = small_scorer(folder / "ranking", model=model)
    items = ItemInputs(scorer.item, np.array([0, 1, 2, -1]), np.array([2, 3, 4, 1]))
    recommender = small_recommender(folder / "retrieval", limits=limits)
    return TwoStageRecommender(small_combined_signature(), recommender, scorer, items, limits)
