"""The retrieval task against values computed by TFRS 0.7.7 itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from torchtowers.models.retrieval import Retrieval

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("retrieval_*.json"))


def test_cases_are_there() -> None:
    assert len(CASES) == 12


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_those_of_tfrs(name: str) -> None:
    config = json.loads((GOLDEN / f"{name}.json").read_text())["config"]
    task = Retrieval(
        temperature=config.get("temperature"),
        remove_accidental_hits=config.get("remove_accidental_hits", False),
    )
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        given = {key.removeprefix("in/"): arrays[key] for key in arrays if key.startswith("in/")}
        expected = {key.removeprefix("out/"): arrays[key] for key in arrays if key.startswith("out/")}
    queries = torch.from_numpy(given.pop("query_embeddings")).requires_grad_()
    candidates = torch.from_numpy(given.pop("candidate_embeddings")).requires_grad_()
    loss = task(queries, candidates, **{key: torch.from_numpy(value) for key, value in given.items()})
    loss.backward()
    assert queries.grad is not None
    assert candidates.grad is not None
    np.testing.assert_allclose(loss.detach().numpy(), expected["loss"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(queries.grad.numpy(), expected["grad_query"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(candidates.grad.numpy(), expected["grad_candidate"], rtol=1e-5, atol=1e-5)


def test_accidental_hits_need_ids() -> None:
    task = Retrieval(remove_accidental_hits=True)
    with pytest.raises(ValueError, match="needs candidate_ids"):
        task(torch.eye(2), torch.eye(2))


def test_mean_is_the_sum_divided_by_the_queries() -> None:
    queries, candidates = torch.randn(4, 3), torch.randn(6, 3)
    total, mean = Retrieval()(queries, candidates), Retrieval(reduction="mean")(queries, candidates)
    torch.testing.assert_close(mean, total / 4)
