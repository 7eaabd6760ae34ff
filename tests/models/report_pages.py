"""Reports of small runs, for the tests that read them."""

from typing import Any

import numpy as np

from torchtowers.models.calibration_curve import calibration_curve
from torchtowers.models.evaluation import embed_candidates, evaluate_retrieval, model_scorer, seen_before
from torchtowers.models.experiment import Trained
from torchtowers.models.ranking_evaluation import evaluate_ranking
from torchtowers.models.report import render_report
from torchtowers.models.report_content import ranking_content, retrieval_content

__all__ = ["page_metrics", "ranking_page", "retrieval_page"]


def page_metrics(test: dict[str, float], **more: Any) -> dict[str, Any]:
    """Give what metrics.json holds, with a baseline that is a third as good."""
    return {
        "test": test,
        "baselines": {"popularity": {name: value / 3 for name, value in test.items()}},
        "data": {"train": 80000, "validation": 8000, "test": 20000, "users": 943, "items": 1682},
        "versions": {"torch": "2"},
        **more,
    }


def retrieval_page(trained: Trained) -> str:
    """Render the whole page of a retrieval run."""
    config, dataset = trained.config, trained.dataset
    scorer = model_scorer(trained.model, dataset)  # type: ignore[arg-type]
    measured = evaluate_retrieval(
        scorer, dataset.test, seen_before(dataset, "test"), accuracy_at=(10, 100), ranking_at=(10,)
    )
    metrics = page_metrics(
        measured.figures,
        groups=measured.groups,
        dropped={"interactions without user_id": 3, "interactions without item_id": 0},
        warnings=["12 items have no interaction"],
        validation={"ndcg@10": 0.2},
    )
    content = retrieval_content(config, dataset, scorer, embed_candidates(trained.model, dataset))  # type: ignore[arg-type]
    return render_report(trained.run, config, metrics, content)


def ranking_page(trained: Trained) -> str:
    """Render the page that a ranking run with made-up predictions would have."""
    dataset = trained.dataset
    labels = np.random.default_rng(0).integers(1, 6, len(dataset.test)).astype(np.float32)
    predictions = 0.5 * labels + 1
    figures = evaluate_ranking(predictions, labels, dataset.test.users, scale="rating")
    metrics = page_metrics(figures, calibration_curve=calibration_curve(predictions, labels))
    content = ranking_content(trained.config, dataset, predictions, labels)
    return render_report(trained.run, trained.config, metrics, content)
