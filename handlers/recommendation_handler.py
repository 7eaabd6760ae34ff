"""The handler of an archive of two stages; TorchServe imports this file by its bare name.

TorchServe wants exactly one class defined here, so all else stands in `torchtowers.handlers`.
"""

from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender


class RecommendationHandler(BaseHandler):
    """Answers `{"user_id": "196", "k": 10}` with `{"items": […], "scores": […]}`, by the ranking's scores."""

    model_class = TwoStageRecommender
