"""Two stages by hand: what is found, in which order it comes back, and what a request may ask for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from tests.handlers.small import examples, json_values, strict_json
from tests.handlers.small_ranking import small_ranking_model
from tests.handlers.small_two_stage import small_two_stages
from torchtowers.handlers.errors import FieldError, InternalError, LimitError, RequestError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

# "u1" is [2, 2]: "10" has 2, "11" has 2, "12" has 4 and "13" has 4, so "12", "13" and "10" are found first.
# They are ranked by the bucket of the year and an eighth of the index: "12" is 1 + 4/8, "13" 0 + 1/8, "10"
# 1 + 2/8; all after 200 for the age and 20 for the history.
U1 = {"12": 221.5, "13": 220.125, "10": 221.25, "11": 222.375}


@pytest.fixture
def both(tmp_path: Path) -> TwoStageRecommender:
    """Both small models; three items are ranked."""
    return small_two_stages(tmp_path)


def test_gives_what_is_found_by_the_rankings_scores(both: TwoStageRecommender) -> None:
    assert both.recommend({"user_id": "u1", "k": 3}) == {
        "items": ["12", "10", "13"],
        "scores": [U1["12"], U1["10"], U1["13"]],
    }


def test_more_are_found_where_a_row_asks_for_them(both: TwoStageRecommender) -> None:
    expected = ["11", "12", "10", "13"]
    assert both.recommend({"user_id": "u1", "candidates": 4})["items"] == expected
    assert both.recommend({"user_id": "u1", "k": 4})["items"] == expected
    assert both.recommend({"user_id": "u1"})["items"] == expected  # k is 10
    assert both.recommend({"user_id": "u1", "candidates": 4, "k": 2})["items"] == expected[:2]
    assert both.recommend({"user_id": "u1", "candidates": 1})["items"] == ["12"]
    assert both.recommend({"user_id": "u1", "candidates": 2, "k": 3})["items"] == ["12", "13"]


def test_what_is_left_out_makes_room_for_other_candidates(both: TwoStageRecommender) -> None:
    body = {"user_id": "u1", "exclude": ["12"], "k": 3}
    assert both.recommend(body)["items"] == ["11", "10", "13"]
    assert both.recommend({"user_id": "u1", "exclude_history": True})["items"] == ["13"]
    assert both.recommend({"user_id": "u1", "exclude": ["10", "11", "12", "13"]}) == {
        "items": [],
        "scores": [],
    }


def test_the_least_score_and_diversity_are_of_the_ranking(both: TwoStageRecommender) -> None:
    body = {"user_id": "u1", "k": 4}
    assert both.recommend({**body, "min_score": U1["10"]})["items"] == ["11", "12", "10"]
    assert both.recommend({**body, "min_score": 300}) == {"items": [], "scores": []}
    assert both.recommend({**body, "diversity": {"title": 1}})["items"] == ["11", "12", "10", "13"]
    # The search alone gives these scores from 2 to 4, all of them below.
    assert both.recommend({**body, "min_score": 4.5})["items"] == ["11", "12", "10", "13"]


def test_what_is_filtered_makes_room_for_other_candidates(both: TwoStageRecommender) -> None:
    body = {"user_id": "u1", "candidates": 2}
    assert both.recommend(body)["items"] == ["12", "13"]
    assert both.recommend({**body, "include": ["10", "11"]})["items"] == ["11", "10"]
    assert both.recommend({**body, "filter": {"title": ["Alien", "Misérables"]}})["items"] == ["11", "10"]


def test_gives_item_columns(both: TwoStageRecommender) -> None:
    answer = both.recommend({"user_id": "u1", "k": 2, "fields": ["title"]})
    assert answer["fields"] == {"title": [None, "Alien"]}


def test_rows_of_a_batch_go_through_both_models_together(tmp_path: Path) -> None:
    seen: list[int] = []

    def counted(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        seen.append(len(inputs["year"]))
        return small_ranking_model(inputs)

    both = small_two_stages(tmp_path, model=counted)
    bodies: list[dict[str, Any]] = [
        {"user_id": "u1", "candidates": 3},
        {"user_id": "u2", "exclude": ["10", "11", "12", "13"]},
        {"user_id": "new", "age": 20, "history": ["10"], "k": 2, "candidates": 2},
    ]
    single = [both.recommend(body) for body in bodies]
    seen.clear()
    assert both.recommend({"instances": bodies}) == {"predictions": single}
    assert seen == [5]


def test_both_models_get_the_fields_that_they_know(both: TwoStageRecommender) -> None:
    assert set(both.fields) == {"user_id", "age", "history"}
    answer = both.recommend({"user_id": "new", "age": 40, "history": ["11"], "k": 4})
    # A query [3, 1]; 100 * 3 + 10 * 1 for all.
    assert answer == {"items": ["11", "12", "10", "13"], "scores": [312.375, 311.5, 311.25, 310.125]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"candidates": 0}, "candidates: expected an integer from 1 to 10000, got 0"),
        ({"candidates": "3"}, "candidates: expected an integer from 1 to 10000, got 3"),
        ({"title": "Alien"}, "title: expected a known field"),
        ({"year": 1990}, "year: expected a known field"),
        ({"age": "old"}, "age: expected a finite number"),
        ({"fields": ["genre"]}, r"fields\[0\]: expected one of title"),
    ],
)
def test_says_what_is_wrong(both: TwoStageRecommender, body: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=f"^{message}"):
        both.recommend({"user_id": "u1", **body})
    with pytest.raises(FieldError, match=rf"^instances\[1\]\.{message}"):
        both.recommend({"instances": [{"user_id": "u2"}, {"user_id": "u1", **body}]})


def test_limits_are_the_servers(tmp_path: Path) -> None:
    both = small_two_stages(
        tmp_path, limits=Limits(candidates=2, max_candidates=3, max_scores=5, default_k=2)
    )
    assert both.recommend({"user_id": "u1"})["items"] == ["12", "13"]
    with pytest.raises(FieldError, match=r"^candidates: expected an integer from 1 to 3, got 4"):
        both.recommend({"user_id": "u1", "candidates": 4})
    with pytest.raises(FieldError, match=r"^k: expected at most 3, the most items that are ranked, got 4"):
        both.recommend({"user_id": "u1", "k": 4})
    rows = [{"user_id": "u1"}, {"user_id": "u2"}]
    assert len(both.recommend({"instances": rows})["predictions"]) == 2
    with pytest.raises(LimitError, match="candidates: at most 5 in all rows of a request together, got 6"):
        both.recommend({"instances": [*rows, {"user_id": "u1"}]})


def test_a_score_that_is_no_number_fails_its_own_row(tmp_path: Path) -> None:
    def broken(inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        scores = small_ranking_model(inputs)
        scores[inputs["age"] == 1] = np.nan
        return scores

    both = small_two_stages(tmp_path, model=broken)
    rows = both.read({"instances": [{"user_id": "u1"}, {"user_id": "x", "age": 10}, {"user_id": "u2"}]}).rows
    answers = list(both.answers(rows))
    assert isinstance(answers[1], InternalError)
    assert [isinstance(answer, bytes) for answer in answers] == [True, False, True]
    with pytest.raises(InternalError):
        both.recommend({"user_id": "x", "age": 10})


@examples(200)
@given(body=json_values)
def test_any_json_is_answered_or_refused(tmp_path_factory: pytest.TempPathFactory, body: object) -> None:
    both = _kept(tmp_path_factory)
    for value in (body, {"user_id": "u1", "candidates": body}, {"instances": [body]}):
        try:
            request = both.read(value)
        except RequestError:
            continue
        for answer in both.answers(request.rows):
            assert isinstance(answer, bytes)
            strict_json(answer)


_KEPT: list[TwoStageRecommender] = []


def _kept(factory: pytest.TempPathFactory) -> TwoStageRecommender:
    if not _KEPT:
        _KEPT.append(small_two_stages(factory.mktemp("two")))
    return _KEPT[0]
