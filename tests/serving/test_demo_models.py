from pathlib import Path

import pytest

from torchtowers.export.archive import build_archive
from torchtowers.handlers import Recommender
from torchtowers.serving.demo_models import ShownModel


@pytest.fixture(scope="module")
def films(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> ShownModel:
    return ShownModel.load(archives / "tiny-onnx.mar", tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def ratings(ranking_archives: Path, tmp_path_factory: pytest.TempPathFactory) -> ShownModel:
    return ShownModel.load(ranking_archives / "ranking-onnx.mar", tmp_path_factory.mktemp("ratings"))


def test_what_the_page_depends_on(films: ShownModel) -> None:
    described = films.describe()
    assert (described["kind"], described["key"], described["users"], described["items"]) == (
        "retrieval",
        "user_id",
        40,
        60,
    )
    assert [feature["name"] for feature in described["features"]] == ["age", "gender", "history"]
    assert described["history"] == "history"
    assert described["title"] == "title"
    assert {column["name"]: column["kind"] for column in described["columns"]} == {
        "title": "text",
        "year": "number",
        "genres": "choices",
    }
    assert (described["candidates"], described["notes"]) == ([], [])


def test_users_are_found_by_beginning_first_and_numbers_by_size(films: ShownModel) -> None:
    assert films.users("u3", most=4) == ["u3", "u30", "u31", "u32"]
    assert films.users(" U1 ", most=2) == ["u1", "u10"]
    assert films.users("9") == ["u9", "u19", "u29", "u39"]
    assert films.users("", most=3) == ["u0", "u1", "u2"]
    assert films.users("nobody") == []


def test_a_user_and_the_history_are_those_that_the_model_goes_by(films: ShownModel, artifact: Path) -> None:
    profile = films.profile("u3")
    assert profile["known"]
    assert dict(profile["features"]) == {"age": "below 18", "gender": "M"}
    recommender = Recommender.load(artifact)
    seen = [item["id"] for item in profile["history"]]
    assert seen
    every = recommender.recommend({"user_id": "u3", "k": 60})["items"]
    unseen = recommender.recommend({"user_id": "u3", "k": 60, "exclude_history": True})["items"]
    assert set(seen) == set(every) - set(unseen)


def test_items_of_the_history_have_their_columns(films: ShownModel) -> None:
    (item,) = films.items(["105"])
    assert item["id"] == "105"
    assert item["fields"]["title"].startswith("Misérables «5»")
    assert item["fields"]["year"] is None
    assert films.items(["no candidate"]) == [{"id": "no candidate", "fields": {}}]


@pytest.mark.parametrize("user", ["nobody", ""])
def test_of_others_nothing_is_known(films: ShownModel, user: str) -> None:
    assert films.profile(user) == {"user": user, "known": False, "features": [], "history": []}


def test_a_ranking_model_says_what_it_can_not(ratings: ShownModel) -> None:
    described = ratings.describe()
    assert described["kind"] == "ranking"
    assert "hour" in [feature["name"] for feature in described["features"]]
    assert described["candidates"][:2] == ["100", "103"]
    assert len(described["candidates"]) == 20
    assert described["columns"] == []
    (note,) = described["notes"]
    assert "no exclusions, filters, thresholds or caps, and no titles" in note
    assert ratings.profile("u3")["history"]


def test_two_stages_take_the_features_of_both(combined_archives: Path, tmp_path: Path) -> None:
    both = ShownModel.load(next(combined_archives.glob("*-onnx.mar")), tmp_path)
    described = both.describe()
    assert (described["kind"], described["users"], described["items"]) == ("recommendation", 40, 60)
    assert [feature["name"] for feature in described["features"]] == ["age", "gender", "history", "hour"]
    assert described["title"] == "title"
    profile = both.profile("u3")
    assert dict(profile["features"]) == {"age": "below 18", "gender": "M"}
    assert profile["history"][0]["fields"]["title"]


def test_a_fused_model_says_what_it_can_not(fused_artifact: Path, tmp_path: Path) -> None:
    archive = build_archive(fused_artifact, name="m", export_path=tmp_path / "store", fused=True)
    (tmp_path / "own").mkdir()
    fused = ShownModel.load(archive, tmp_path / "own")
    described = fused.describe()
    assert (described["users"], described["items"], described["title"]) == (0, 60, "title")
    (note,) = described["notes"]
    assert "type a user's id" in note
    assert fused.users("") == []
    assert fused.profile("u3")["known"] is False


def test_a_fused_ranking_model(fused_ranking_artifact: Path, tmp_path: Path) -> None:
    archive = build_archive(fused_ranking_artifact, name="m", export_path=tmp_path / "store", fused=True)
    (tmp_path / "own").mkdir()
    described = ShownModel.load(archive, tmp_path / "own").describe()
    assert (described["kind"], described["candidates"], len(described["notes"])) == ("ranking", [], 2)
