"""The naive model behind BentoML with adaptive batching: `bentoml serve serve_bentoml:Recommend`."""

import os
from pathlib import Path

import bentoml
from naive_model import Naive


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 128})
class Recommend:
    """What BentoML serves; NAIVE_FOLDER names the folder of the model."""

    def __init__(self):
        """Load the model in the worker."""
        self.naive = Naive(Path(os.environ["NAIVE_FOLDER"]))

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def recommend(self, requests: list[dict]) -> list[dict]:
        """Answer a batch; a request is `{"requests": [{"user_id": "196"}]}`."""
        return self.naive.answer(requests)
