"""The handler of a retrieval archive; TorchServe imports this file by its bare name.

TorchServe wants exactly one class defined here, so all else stands in `torchtowers.handlers`.
"""

from torchtowers.handlers.base import BaseHandler
from torchtowers.handlers.recommender import Recommender


class RetrievalHandler(BaseHandler):
    """Answers `{"user_id": "196", "k": 10}` with `{"items": […], "scores": […]}`."""

    model_class = Recommender
