"""Fused ranking files answer as encoders and model do, on whatever a request may hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.every_kind import every_kind_tables
from tests.export.fused import FUSABLE
from tests.export.test_fused import FEATURES, ITEMS, RUNTIMES
from tests.handlers.served import fused_served
from tests.tiny import CONFIG
from torchtowers.export.artifact import export_artifact
from torchtowers.export.comparison import TOLERANCE, difference_of
from torchtowers.export.ranking_questions import body_of, fused_rows
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.fused_scorer import FusedScorer
from torchtowers.handlers.request import Row
from torchtowers.models.config import parse_config
from torchtowers.models.experiment import train

QUERIES = st.builds(
    Row,
    st.fixed_dictionaries({"user_id": st.sampled_from(["u3", "u8", "u1", "nobody"])}, optional=FEATURES),
    k=st.just(60),
)
# Of any lengths, with unknown ids and some that come twice.
CANDIDATES = st.lists(st.sampled_from([*ITEMS, "none of them"]), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fused-ranking")
    model = {"kind": "ranking", "embedding_dim": 4, "hidden": [8]}
    config = parse_config({**CONFIG, "features": FUSABLE, "model": model})
    every = train(config, folder / "run", tables=every_kind_tables())
    export_artifact(every, folder / "artifact", fused=True)
    return folder / "artifact"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_any_values_get_the_scores_of_encoders_and_model(folder: Path, runtime: str) -> None:
    ranker = CandidateRanker.load(folder, runtime="onnx")
    scorer = FusedScorer.load(folder, fused_served(folder, runtime))
    fused = CandidateRanker(ranker.signature, scorer, ranker.limits)

    @settings(deadline=None, max_examples=60)
    @given(rows=st.lists(st.tuples(QUERIES, CANDIDATES), min_size=1, max_size=6))
    def check(rows: list[tuple[Row, list[str]]]) -> None:
        asked = [(query, [Row({"item_id": item}, k=1) for item in items]) for query, items in rows]
        body = body_of(fused_rows(asked, "item_id"), "item_id")
        answers = [model.rank(body)["predictions"] for model in (fused, ranker)]
        for (_, items), got, wanted in zip(rows, *answers, strict=True):
            assert got["items"] == wanted["items"] == items
            scores = [np.array(answer["scores"], np.float32) for answer in (got, wanted)]
            assert difference_of(*scores) <= TOLERANCE

    check()
