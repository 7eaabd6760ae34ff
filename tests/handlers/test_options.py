"""What a row's options leave of the items: by hand, and against a plain reading of the whole ranking."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.served import fused_served
from tests.handlers.small import examples, small_recommender
from torchtowers.handlers.errors import FieldError, LimitError, RequestError
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature


@pytest.fixture
def small(tmp_path: Path) -> Recommender:
    limits = Limits(max_include=3, max_filter_columns=2, max_filter_values=2, max_diversity_columns=1)
    return small_recommender(tmp_path, limits=limits)


# u1's ranking is 12, 13, 10, 11 with the scores 4, 4, 2, 2. Genres: 10 Horror and Sci-Fi, 11 Drama, 12 none,
# 13 Horror; years: 1979, 1998, none, 1982.
@pytest.mark.parametrize(
    ("options", "items"),
    [
        ({"include": ["10", "nothing", 12]}, ["12", "10"]),
        ({"include": []}, []),
        ({"include": ["10", "12"], "exclude": ["12"]}, ["10"]),
        ({"include": ["10", "12"], "k": 1}, ["12"]),
        ({"filter": {}}, ["12", "13", "10", "11"]),
        ({"filter": {"genres": "Horror"}}, ["13", "10"]),
        ({"filter": {"genres": ["Sci-Fi", "Drama"]}}, ["10", "11"]),
        ({"filter": {"genres": "Horror", "year": {"max": 1980}}}, ["10"]),
        ({"filter": {"year": {"min": 1979, "max": 1982}}, "include": ["13", "11"]}, ["13"]),
        ({"filter": {"title": "Alien"}}, ["10"]),
        ({"filter": {"genres": "Horror"}, "exclude_history": True}, ["13"]),
        ({"min_score": 4}, ["12", "13"]),
        ({"min_score": 4.5}, []),
        ({"min_score": -1e300}, ["12", "13", "10", "11"]),
        ({"min_score": 1e300}, []),
        ({"diversity": {"genres": 1}}, ["12", "13", "11"]),
        ({"diversity": {"genres": 1}, "exclude": ["13"]}, ["12", "10", "11"]),
        ({"diversity": {"genres": 2}}, ["12", "13", "10", "11"]),
        ({"diversity": {"genres": 1}, "k": 2, "min_score": 3}, ["12", "13"]),
        ({"diversity": {"genres": 1}, "filter": {"genres": "Horror"}}, ["13"]),
    ],
)
def test_by_hand(small: Recommender, options: dict[str, Any], items: list[str]) -> None:
    answer = small.recommend({"user_id": "u1", **options})
    assert answer["items"] == items
    assert len(answer["scores"]) == len(items)
    # Beside other rows, of which some are not restricted, it is the same.
    rows = [{"user_id": "u2"}, {"user_id": "u1", **options}, {"user_id": "u1"}]
    plain, same, whole = small.recommend({"instances": rows})["predictions"]
    assert (plain["items"], whole["items"]) == (["10", "11", "12", "13"], ["12", "13", "10", "11"])
    assert same == answer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": "10"}, "include: expected a list of item ids, got 10"),
        ({"include": [None]}, "include[0]: expected a string or an integer, got None"),
        ({"filter": [1]}, "filter: expected an object with a key for each item column, got [1]"),
        (
            {"filter": {"genre": "Horror"}},
            "filter.genre: expected an item column of this model (title, year, genres), got Horror",
        ),
        ({"min_score": "high"}, "min_score: expected a finite number, got high"),
        ({"min_score": float("nan")}, "min_score: expected a finite number, got nan"),
        ({"min_score": True}, "min_score: expected a finite number, got True"),
        (
            {"diversity": {"genres": 0}},
            "diversity.genres: expected an integer of at least 1, items of one value, got 0",
        ),
        ({"diversity": "genres"}, "diversity: expected an object with a key for each item column"),
        ({"diversity": {"plot": 1}}, "diversity.plot: expected an item column of this model"),
        ({"parameters": {"filter": {"year": "new"}}}, "parameters.filter.year: expected a number"),
    ],
)
def test_names_field_value_and_expectation(small: Recommender, options: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError) as caught:
        small.recommend({"user_id": "u1", **options})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": ["1"] * 4}, "include: at most 3 items, got 4"),
        ({"filter": dict.fromkeys(["title", "year", "genres"], "a")}, "filter: at most 2 columns, got 3"),
        ({"filter": {"title": ["a"] * 3}}, "filter.title: at most 2 values, got 3"),
        ({"diversity": {"title": 1, "year": 1}}, "diversity: at most 1 columns, got 2"),
    ],
)
def test_refuses_one_more_than_allowed(small: Recommender, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LimitError) as caught:
        small.recommend({"user_id": "u1", **options})
    assert str(caught.value) == message


# ---- a real artifact, and its fused files ----

GENRES = ["Comedy", "Drama", "Film-Noir", "Sci-Fi"]
years = st.integers(1965, 2035)
options = st.fixed_dictionaries(
    {"k": st.integers(1, 70)},
    optional={
        "exclude": st.lists(st.integers(95, 165), max_size=20),
        "exclude_history": st.booleans(),
        "include": st.lists(st.integers(95, 165).map(str), max_size=40),
        "filter": st.fixed_dictionaries(
            {},
            optional={
                "genres": st.sampled_from(GENRES) | st.lists(st.sampled_from([*GENRES, "x"]), max_size=3),
                "year": years | st.fixed_dictionaries({"min": years}, optional={"max": years}),
            },
        ),
        "min_score": st.floats(-2, 2, width=32),
        "diversity": st.fixed_dictionaries(
            {}, optional={"genres": st.integers(1, 9), "year": st.integers(1, 2)}
        ),
    },
)


def naive(whole: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Go down the whole ranking, which has what exclusions leave, and keep what is wanted."""
    counts: Counter[tuple[str, Any]] = Counter()
    kept: list[str] = []
    rows = zip(
        whole["items"], whole["scores"], whole["fields"]["genres"], whole["fields"]["year"], strict=True
    )
    for item, score, genres, year in rows:
        include, conditions = wanted.get("include"), wanted.get("filter", {})
        asked, span = conditions.get("genres", genres), conditions.get("year", year)
        if include is not None and item not in include:
            continue
        if not set(genres) & set(asked if isinstance(asked, list) else [asked]):
            continue
        if isinstance(span, dict):
            if year is None or not span["min"] <= year <= span.get("max", year):
                continue
        elif year != span:
            continue
        if score < wanted.get("min_score", score):
            continue
        values = [("genres", genre) for genre in set(genres)] + [("year", year)] * (year is not None)
        caps = wanted.get("diversity", {})
        if any(counts[value] >= caps.get(value[0], 99) for value in values):
            continue
        counts.update(values)
        kept.append(item)
    return kept[: wanted["k"]]


@pytest.fixture(scope="module")
def recommenders(fused_artifact: Path) -> list[Recommender]:
    """The artifact's tower, and its fused files."""
    tower = Recommender.load(fused_artifact, runtime="onnx")
    fused = []
    for runtime in ("onnx", "torchscript"):
        search = FusedSearch.load(fused_artifact, fused_served(fused_artifact, runtime))
        fused.append(Recommender(Signature.read(fused_artifact), search, tower.columns, Limits()))
    return [tower, *fused]


@examples(60)
@given(st.lists(st.tuples(st.integers(0, 39), options), min_size=1, max_size=3))
def test_options_leave_what_a_plain_reading_does(
    recommenders: list[Recommender], rows: list[tuple[int, dict[str, Any]]]
) -> None:
    for recommender in recommenders:
        bodies = [{"user_id": f"u{user}", **wanted} for user, wanted in rows]
        answers = recommender.recommend({"instances": bodies})["predictions"]
        for answer, (user, wanted) in zip(answers, rows, strict=True):
            over_all: dict[str, Any] = {
                name: wanted[name] for name in ("exclude", "exclude_history") if name in wanted
            }
            body: dict[str, Any] = {"user_id": f"u{user}", **over_all}
            body.update(k=100, fields=["genres", "year"])
            # In a batch of the same size, since the last digits of scores depend on it.
            whole = recommender.recommend({"instances": [body] * len(rows)})["predictions"][0]
            expected = naive(whole, wanted)
            if "min_score" in wanted:
                near = [abs(score - wanted["min_score"]) < 1e-4 for score in whole["scores"]]
                if any(near):
                    continue
            assert set(answer["items"]) == set(expected) or answer["items"] == expected
            assert len(answer["items"]) == len(expected)


@examples(100)
@given(st.dictionaries(st.sampled_from(["include", "filter", "min_score", "diversity"]), st.none()))
def test_null_is_not_set(recommenders: list[Recommender], nothing: dict[str, None]) -> None:
    plain = recommenders[0].recommend({"user_id": "u1"})
    assert recommenders[0].recommend({"user_id": "u1", **nothing}) == plain


def test_a_narrow_filter_is_found_far_down_the_ranking(recommenders: list[Recommender]) -> None:
    """Diversity goes on until k items are found, however far down they are."""
    body = {"user_id": "u3", "k": 4, "diversity": {"genres": 1}, "fields": ["genres"]}
    for recommender in recommenders:
        found = recommender.recommend(body)
        seen = [genre for genres in found["fields"]["genres"] for genre in genres]
        assert len(seen) == len(set(seen)) == 4
        with pytest.raises(RequestError):
            recommender.recommend({**body, "diversity": {"plot": 1}})


def test_masks_of_long_conditions_are_not_kept(small: Recommender) -> None:
    for number in range(20):
        body = {"user_id": "u1", "filter": {"title": [f"{number}" + "x" * 2000, "A"]}}
        small.recommend(body)
    assert small.filters._mask.cache_info().currsize == 0
    small.recommend({"user_id": "u1", "filter": {"title": "A"}})
    small.recommend({"user_id": "u1", "filter": {"title": "A"}})
    assert small.filters._mask.cache_info()[:2] == (1, 1)
