"""What answers a request, in TorchServe or elsewhere; needs numpy and the artifact's runtime, no more."""

from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.errors import TowersError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

__all__ = ["CandidateRanker", "Recommender", "Signature", "TowersError", "TwoStageRecommender"]
