"""Candidates through the model in blocks, and models that do not fit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.handlers.small_ranking import small_ranker, small_ranking_model
from torchtowers.handlers import tower_scorer as module
from torchtowers.handlers.errors import ArtifactError


def test_candidates_of_all_rows_go_through_the_model_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks end in the middle of a row, and hold several rows of lists of different lengths."""
    seen: list[int] = []

    def counted(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        (count,) = {len(values) for values in inputs.values()}
        seen.append(count)
        return small_ranking_model(inputs)

    ranker = small_ranker(tmp_path, model=counted)
    users = ["u1", "u2", "new", "u1", "u2"]
    body = {
        "instances": [
            {"user_id": user, "candidates": ["10", "11", "what", "12", "13"][: 1 + row]}
            for row, user in enumerate(users)
        ]
    }
    whole = ranker.rank(body)
    for size in (1, 2, 4, 7):
        seen.clear()
        monkeypatch.setattr(module, "_MAX_SCORES", size)
        assert ranker.rank(body) == whole
        assert sum(seen) == 15
        assert max(seen) == size
    for row, answer in zip(body["instances"], whole["predictions"], strict=True):
        assert ranker.rank(row) == answer


def test_refuses_a_model_that_does_not_fit_the_signature(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"gives \(1, 1\) for one candidate, expected \(1,\)"):
        small_ranker(tmp_path / "a", model=lambda inputs: small_ranking_model(inputs)[:, None])
    with pytest.raises(ArtifactError, match="does not take the signature's features: 'genre'"):
        small_ranker(tmp_path / "b", model=lambda inputs: inputs["genre"])
