import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from tests.models.report_pages import page_metrics, ranking_page, retrieval_page
from torchtowers.models.evaluation import embed_candidates, model_scorer
from torchtowers.models.experiment import Trained
from torchtowers.models.report import render_report
from torchtowers.models.report_content import retrieval_content
from torchtowers.models.run import Run

FIGURES = {"top_100_accuracy": 0.6234, "recall@10": 0.25, "coverage@10": 0.3}
FIGURES |= {f"{name}/seen_included": value / 2 for name, value in FIGURES.items()}


class _Tags(HTMLParser):
    """Whether all that is opened is closed, and who is referred to."""

    VOID = ("meta", "link", "br", "circle", "line", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [value for value in [given.get("id")] if value]
        self.targets += [value for value in [given.get("aria-labelledby")] if value]
        if (given.get("href") or "").startswith("#"):
            self.targets.append(str(given["href"])[1:])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("page", [retrieval_page, ranking_page])
def test_a_page_is_whole_and_loads_nothing(trained: Trained, page: object) -> None:
    html = page(trained)  # type: ignore[operator]
    tags = _Tags(html)
    assert html.startswith("<!doctype html>")
    assert tags.open == []
    assert len(set(tags.ids)) == len(tags.ids)
    assert set(tags.targets) <= set(tags.ids)
    assert "<script" not in html
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", html)
    assert html == page(trained)  # type: ignore[operator]


def test_figures_stand_beside_the_baselines(trained: Trained) -> None:
    html = render_report(trained.run, trained.config, page_metrics(FIGURES))
    for text in ("0.6234", "0.2078", "0.3117", "80,000", "943 users", "Top-100 accuracy", "temperature: 0.2"):
        assert text in html
    # The better one of each pair is marked, but for coverage, which is not better or worse.
    assert html.count('<td class="best">') == 2 * 2
    assert html == render_report(trained.run, trained.config, json.loads(json.dumps(page_metrics(FIGURES))))


def test_where_less_is_better_the_smaller_one_is_marked(trained: Trained) -> None:
    html = render_report(trained.run, trained.config, page_metrics({"rmse": 0.9, "calibration": 1.2}))
    assert '<td>0.9000</td><td class="best">0.3000</td>' in html
    assert '<td class="best">1.2000</td><td>0.4000</td>' in html
    assert "less is better" in html


def test_what_was_left_out_and_warned_of_is_told(trained: Trained) -> None:
    html = retrieval_page(trained)
    assert "3 interactions without user_id" in html
    assert "without item_id" not in html
    assert "12 items have no interaction" in html


def test_both_trainings_are_drawn(trained: Trained, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    for epoch in (1, 2):
        figures = {"validation/ndcg@10": epoch / 10, "validation/ndcg@10/seen_included": 0.1}
        run.selection.append_history({"epoch": epoch, "loss": 2 / epoch, **figures})
        run.append_history({"epoch": epoch, "loss": 1 / epoch})
    html = render_report(run, trained.config, page_metrics(FIGURES))
    for text in ("choosing the epochs: 2 at epoch 1", "final training: 0.5 at epoch 2", "Validation NDCG@10"):
        assert text in html
    assert html.count("<svg") == 2


def test_a_run_without_epochs_has_a_page(trained: Trained, tmp_path: Path) -> None:
    html = render_report(Run(tmp_path / "run"), trained.config, page_metrics(FIGURES))
    assert html.count("<svg") == 0
    assert "Top-100 accuracy" in html


def test_recommendations_carry_titles_and_mark_what_came_true(trained: Trained) -> None:
    html = retrieval_page(trained)
    assert "Misérables «" in html
    assert "in the test part" in html
    dataset = trained.dataset
    content = retrieval_content(
        trained.config,
        dataset,
        model_scorer(trained.model, dataset),  # type: ignore[arg-type]
        embed_candidates(trained.model, dataset),  # type: ignore[arg-type]
    )
    titles = dict(zip(dataset.item_table["title"], range(len(dataset.items)), strict=True))
    for example in content.examples:
        user = dataset.users.tokens.index(example.user)
        had = set(dataset.train.items[dataset.train.users == user].tolist())
        wanted = set(dataset.test.items[dataset.test.users == user].tolist())
        assert (example.seen_count, example.wanted_count) == (len(had), len(wanted))
        assert {titles[title] for title in example.seen} <= had
        for item in example.items:
            assert titles[item.title] not in had
            assert item.is_wanted == (titles[item.title] in wanted)
        scores = [item.score for item in example.items]
        assert scores == sorted(scores, reverse=True)


def test_values_of_the_data_are_no_markup(trained: Trained) -> None:
    dataset = replace(
        trained.dataset,
        item_table=trained.dataset.item_table.with_columns(
            pl.lit("<script>alert(1)</script>").alias("title")
        ),
    )
    html = retrieval_page(replace(trained, dataset=dataset))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
