"""The handler of a ranking archive; TorchServe imports this file by its bare name.

TorchServe wants exactly one class defined here, so all else stands in `torchtowers.handlers`.
"""

from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.candidate_ranker import CandidateRanker


class RankingHandler(BaseHandler):
    """Answers `{"user_id": "196", "candidates": ["50", "181"]}` with `{"items": […], "scores": […]}`."""

    model_class = CandidateRanker
