"""Two artifacts in one: it answers as both one after the other, or is not written."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.export.archives import contents_of, rewritten, unpacked
from tests.tiny import tiny_ranking_config, tiny_ranking_trained, tiny_tables
from torchtowers.export.archive import build_archive
from torchtowers.export.artifact import export_artifact
from torchtowers.export.combined import combine_artifacts
from torchtowers.export.errors import ExportError, VerificationError
from torchtowers.export.inspection import difference, inspect_archive, shown
from torchtowers.export.lint import lint_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.export.new_index import export_index
from torchtowers.export.questions import raw_rows
from torchtowers.export.resigning import sign_archive
from torchtowers.export.signing import generate_key
from torchtowers.export.verification import verify_artifact
from torchtowers.export.verify import verify_archive
from torchtowers.handlers.agreement import agree
from torchtowers.handlers.arrays import save_array
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.combined_signature import CombinedSignature, read_signature
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.samples import read_samples
from torchtowers.handlers.signature import FILE_NAME, Signature
from torchtowers.handlers.two_stage_recommender import TwoStageRecommender

RUNTIMES = ("onnx", "torchscript")


def requests(artifact: Path, ranking_artifact: Path, count: int) -> list[dict[str, Any]]:
    """Draw rows with fields of both models, sent, left out, missing or unknown, and every option."""
    draw = np.random.default_rng(5)
    recommender, ranker = Recommender.load(artifact), CandidateRanker.load(ranking_artifact)
    names = recommender.search.ids.json_values("ids")
    found = raw_rows(recommender.encoder, count, 1)
    ranked = raw_rows(ranker.query, count, 1)
    rows: list[dict[str, Any]] = []
    for place in draw.permutation(count):
        fields = {**ranked[place].features, **found[place].features}
        options: dict[str, Any] = {
            "k": int(draw.integers(1, 30)),
            "candidates": int(draw.integers(1, 70)),
            "exclude": draw.choice(names, draw.integers(0, 20)).tolist(),
            "exclude_history": bool(draw.integers(2)),
            "filter": {"genres": draw.choice(["Comedy", "Drama", "none"], draw.integers(1, 3)).tolist()},
            "min_score": float(draw.normal(3, 1)),
            "diversity": {"genres": int(draw.integers(1, 30))},
        }
        for name in ("filter", "min_score", "diversity"):
            if draw.random() < 0.6:
                del options[name]
        rows.append({**fields, **options})
    return rows


def diverse(items: list[str], genres: dict[str, list[str]], most: int) -> list[str]:
    """Go down the items, and keep those none of whose genres was kept as often as that."""
    kept: list[str] = []
    for item in items:
        if all(sum(genre in genres[other] for other in kept) < most for genre in genres[item]):
            kept.append(item)
    return kept


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_answers_as_both_one_after_the_other(
    combined_artifact: Path, artifact: Path, ranking_artifact: Path, runtime: str
) -> None:
    both = TwoStageRecommender.load(combined_artifact, runtime=runtime)
    recommender = Recommender.load(artifact, runtime=runtime)
    ranker = CandidateRanker.load(ranking_artifact, runtime=runtime)
    items = tiny_tables().items
    genres = dict(zip(items["item_id"], items["genres"].to_list(), strict=True))
    rows = requests(artifact, ranking_artifact, 200)
    together = both.recommend({"instances": rows})["predictions"]
    for row, answer in zip(rows, together, strict=True):
        asked: dict[str, Any] = {name: value for name, value in row.items() if name in recommender.fields}
        narrowed: dict[str, Any] = {
            name: row[name] for name in ("exclude", "exclude_history", "filter") if name in row
        }
        found = recommender.recommend({**asked, **narrowed, "k": row["candidates"]})["items"]
        if not found:
            assert answer == {"items": [], "scores": []}
            continue
        asked = {name: value for name, value in row.items() if name in ranker.fields}
        ranked = ranker.rank({**asked, "candidates": found, "k": len(found)})
        scores = dict(zip(ranked["items"], ranked["scores"], strict=True))
        expected = [item for item in scores if scores[item] >= row.get("min_score", -np.inf)]
        if "diversity" in row:
            expected = diverse(expected, genres, row["diversity"]["genres"])
        expected = expected[: row["k"]]
        assert answer["items"] == expected
        np.testing.assert_allclose(answer["scores"], [scores[item] for item in expected], rtol=0, atol=1e-5)


def test_tells_what_was_put_together(artifact: Path, ranking_artifact: Path, tmp_path: Path) -> None:
    told: list[str] = []
    made = combine_artifacts(artifact, ranking_artifact, tmp_path / "both", log=told.append)
    assert (made.runtimes, made.items, made.unknown, made.candidates) == (RUNTIMES[::-1], 60, 0, 500)
    assert {(c.runtime, c.batch) for c in made.comparisons} == {
        (runtime, batch) for runtime in RUNTIMES for batch in (1, 2, 7, 64)
    }
    assert max(comparison.difference for comparison in made.comparisons) <= 1e-5
    assert told == ["comparing the answers with those of both artifacts, one after the other"]
    report = json.loads((tmp_path / "both/report.json").read_text())
    assert (report["items"], report["unknown"]) == (60, 0)


def test_the_signature_lists_all_files_and_comes_back(combined_artifact: Path) -> None:
    signature = CombinedSignature.read(combined_artifact)
    files = {p.relative_to(combined_artifact).as_posix() for p in combined_artifact.rglob("*") if p.is_file()}
    assert signature.files.keys() == files - {"signature.json", "model-config.yaml"}
    assert signature.to_text() == (combined_artifact / FILE_NAME).read_text()
    assert signature.candidates == 20
    assert {"query.onnx", "ranker.onnx", "candidate.onnx", "recommendation_handler.py"} <= files
    assert (
        not {"retrieval_handler.py", "retrieval/retrieval_handler.py", "ranking/ranking_handler.py"} & files
    )


def test_recorded_requests_do_not_hang_on_which_items_were_found_last(combined_artifact: Path) -> None:
    samples = read_samples(combined_artifact / "samples.json")
    assert len(samples) == 16
    for runtime in RUNTIMES:
        both = TwoStageRecommender.load(combined_artifact, runtime=runtime)
        for sample in samples:
            assert 10 <= sample.request["candidates"] <= 20
            assert agree(sample.answer, both.recommend(sample.request))
            row = both.read({**sample.request, "candidates": sample.request["candidates"] + 1}).rows[0]
            ((_, scores),) = both.recommender.find([row.found])
            assert scores[-2] - scores[-1] > 1e-4


def test_the_same_two_give_the_same_bytes(
    artifact: Path, ranking_artifact: Path, combined_artifact: Path, tmp_path: Path
) -> None:
    combine_artifacts(artifact, ranking_artifact, tmp_path / "again", candidates=20)
    archives = [
        build_archive(made, name="m", export_path=tmp_path / made.name)
        for made in (combined_artifact, tmp_path / "again")
    ]
    assert archives[0].read_bytes() == archives[1].read_bytes()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_archive_holds_both_models_of_one_runtime(
    combined_artifact: Path, tmp_path: Path, runtime: str
) -> None:
    path = build_archive(combined_artifact, name="m", export_path=tmp_path, runtime=runtime)
    end = {"onnx": "onnx", "torchscript": "pt"}[runtime]
    held = contents_of(path)
    assert {name for name in held if name.endswith((".onnx", ".pt"))} == {f"query.{end}", f"ranker.{end}"}
    assert not {name for name in held if "candidate" in name and not name.endswith(".py")}
    assert lint_archive(path) == []
    assert verify_archive(path) == []
    folder = unpacked(path, tmp_path / "unpacked")
    body = {"user_id": "u3", "k": 5}
    expected = TwoStageRecommender.load(combined_artifact, runtime=runtime).recommend(body)
    assert TwoStageRecommender.load(folder).recommend(body) == expected


def test_what_is_in_an_archive_is_shown_of_both(combined_artifact: Path, tmp_path: Path) -> None:
    paths = [
        build_archive(
            combined_artifact, name=name, export_path=tmp_path, config=ServingConfig(candidates=count)
        )
        for name, count in (("a", 10), ("b", None))
    ]
    first, second = map(inspect_archive, paths)
    assert first["kind"] == "recommendation"
    assert first["retrieval"]["index"]["size"] == 60
    places = dict(shown(first))
    assert places["retrieval.features.query.history"] == "string, token_list"
    assert places["ranking.features.candidate.year"] == "number, buckets"
    assert places["candidates"] == "20"
    changed = difference(first, second)
    assert changed["config.torchtowers.candidates"] == (10, None)


def test_an_archive_is_signed_and_checked(combined_artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="needs pip install 'torchtowers[release]'")
    generate_key(tmp_path / "key")
    path = build_archive(combined_artifact, name="m", export_path=tmp_path)
    sign_archive(path, tmp_path / "key")
    assert verify_archive(path, tmp_path / "key.pub") == []
    altered = rewritten(path, tmp_path / "altered.mar", {"items/rows.npy": b"no array"})
    assert {finding.name for finding in verify_archive(altered)} == {"altered"}
    folder = unpacked(altered, tmp_path / "unpacked")
    with pytest.raises(ArtifactError, match=r"items/rows\.npy was altered"):
        TwoStageRecommender.load(folder)


def test_it_is_verified_again_against_both_trained_models(combined_artifact: Path) -> None:
    comparisons = verify_artifact(combined_artifact)
    assert {"query", "candidate", "recommendations", "scores", "answers", "two stages"} == {
        comparison.compared for comparison in comparisons
    }


def copied(artifact: Path, target: Path, change: Callable[[Signature], Signature]) -> Path:
    """Copy an artifact with another signature."""
    shutil.copytree(artifact, target)
    change(Signature.read(artifact)).write(target)
    return target


def test_refuses_other_kinds(
    artifact: Path, ranking_artifact: Path, combined_artifact: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(
        ExportError, match=r"is of a ranking model, expected a retrieval model: the retrieval"
    ):
        combine_artifacts(ranking_artifact, artifact, out)
    with pytest.raises(ExportError, match=r"is of a retrieval model, expected a ranking model"):
        combine_artifacts(artifact, artifact, out)
    with pytest.raises(ArtifactError, match=r"is of two models \(recommendation\)"):
        combine_artifacts(combined_artifact, ranking_artifact, out)
    archive = build_archive(artifact, name="m", export_path=tmp_path)
    with pytest.raises(ExportError, match="is a file: give the artifact directory"):
        combine_artifacts(archive, ranking_artifact, out)
    folder = build_archive(artifact, name="m", export_path=tmp_path, archive_format="no-archive")
    with pytest.raises(ExportError, match="is what an archive holds"):
        combine_artifacts(folder, ranking_artifact, out)
    with pytest.raises(ExportError, match="candidates: expected at least 1, got 0"):
        combine_artifacts(artifact, ranking_artifact, out, candidates=0)
    assert not out.exists()


def test_refuses_ids_of_other_columns(artifact: Path, ranking_artifact: Path, tmp_path: Path) -> None:
    def other_items(signature: Signature) -> Signature:
        assert signature.candidate is not None
        return replace(signature, candidate=replace(signature.candidate, key="movie_id"))

    other = copied(ranking_artifact, tmp_path / "items", other_items)
    with pytest.raises(ExportError, match=r"the items of .* are known by item_id, those of .* by movie_id"):
        combine_artifacts(artifact, other, tmp_path / "out")
    other = copied(
        ranking_artifact,
        tmp_path / "users",
        lambda signature: replace(signature, query=replace(signature.query, key="uid")),
    )
    with pytest.raises(ExportError, match=r"the users of .* are known by user_id, those of .* by uid"):
        combine_artifacts(artifact, other, tmp_path / "out")


def test_refuses_a_field_of_two_meanings(artifact: Path, ranking_artifact: Path, tmp_path: Path) -> None:
    def gender_is_a_number(signature: Signature) -> Signature:
        features = [
            replace(spec, dtype="number", encoder={"kind": "buckets", "boundaries": [1.0]})
            if spec.name == "gender"
            else spec
            for spec in signature.query.features
        ]
        return replace(signature, query=replace(signature.query, features=tuple(features)))

    other = copied(ranking_artifact, tmp_path / "other", gender_is_a_number)
    with pytest.raises(ExportError, match=r"gender is a string or an integer for .* and a finite number for"):
        combine_artifacts(artifact, other, tmp_path / "out")


def test_refuses_two_without_a_format_in_common(
    artifact: Path, ranking_artifact: Path, tmp_path: Path
) -> None:
    def only(runtime: str) -> Callable[[Signature], Signature]:
        return lambda signature: replace(signature, towers={runtime: signature.towers[runtime]})

    onnx = copied(artifact, tmp_path / "onnx", only("onnx"))
    script = copied(ranking_artifact, tmp_path / "script", only("torchscript"))
    with pytest.raises(ExportError, match=r"has onnx files and .* has torchscript files, none of the same"):
        combine_artifacts(onnx, script, tmp_path / "out")
    told: list[str] = []
    made = combine_artifacts(onnx, ranking_artifact, tmp_path / "out", log=told.append)
    assert made.runtimes == ("onnx",)
    assert told[0] == "left out: torchscript, which only one of the two has"
    assert CombinedSignature.read(tmp_path / "out").towers.keys() == {"onnx"}
    assert not list((tmp_path / "out").rglob("ranker.pt"))


def test_items_that_the_ranking_model_does_not_know_are_counted(artifact: Path, tmp_path: Path) -> None:
    items = tiny_tables().items.with_columns(pl.format("new-{}", "item_id").alias("item_id"))
    items.write_parquet(tmp_path / "new.parquet")
    export_index(artifact, tmp_path / "new.parquet", tmp_path / "wide", add=True)
    export_index(artifact, tmp_path / "new.parquet", tmp_path / "strange")
    export_artifact(
        tiny_ranking_trained(tmp_path / "run", tiny_ranking_config()), tmp_path / "rank", ("onnx",)
    )
    told: list[str] = []
    made = combine_artifacts(tmp_path / "wide", tmp_path / "rank", tmp_path / "out", log=told.append)
    assert (made.items, made.unknown) == (120, 60)
    assert any(
        line.startswith("60 of 120 items of the index are unknown to the ranking model") for line in told
    )
    both = TwoStageRecommender.load(tmp_path / "out")
    answer = both.recommend({"user_id": "u1", "k": 120})
    ranker = CandidateRanker.load(tmp_path / "rank")
    unknown = ranker.rank({"user_id": "u1", "candidates": ["nothing"]})["scores"][0]
    scores = dict(zip(answer["items"], answer["scores"], strict=True))
    new = [score for item, score in scores.items() if item.startswith("new-")]
    np.testing.assert_allclose(new, [unknown] * 60, atol=1e-5)
    with pytest.raises(ExportError, match="the ranking model knows none of the 60 items of the index"):
        combine_artifacts(tmp_path / "strange", tmp_path / "rank", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_nothing_is_left_where_it_fails(
    artifact: Path, ranking_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "place/out"
    combine_artifacts(artifact, ranking_artifact, out)
    before = (out / FILE_NAME).read_bytes()
    altered = Path(shutil.copytree(ranking_artifact, tmp_path / "altered"))
    (altered / "ranker.onnx").write_bytes(b"something else")
    with pytest.raises(ArtifactError, match=r"ranker\.onnx in altered was altered"):
        combine_artifacts(artifact, altered, out)
    # Were an item's row another, answers would differ.
    monkeypatch.setattr(
        "torchtowers.export.combined.save_array",
        lambda folder, name, array: save_array(folder, name, np.roll(array, 1)),
    )
    with pytest.raises(VerificationError, match="two stages differ"):
        combine_artifacts(artifact, ranking_artifact, out)
    assert (out / FILE_NAME).read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_refuses_a_place_that_is_taken(artifact: Path, ranking_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExportError, match="is in the way and is no artifact"):
        combine_artifacts(artifact, ranking_artifact, tmp_path)
    for out in (artifact, ranking_artifact / "inside"):
        with pytest.raises(ExportError, match="is one of the artifacts, or one of them is in the other"):
            combine_artifacts(artifact, ranking_artifact, out)


def test_what_needs_one_model_says_so(combined_artifact: Path, artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is of two models \(recommendation\), expected that of one"):
        Recommender.load(combined_artifact)
    with pytest.raises(ArtifactError, match="expected a recommendation model, got one of kind 'retrieval'"):
        TwoStageRecommender.load(artifact)
    with pytest.raises(ExportError, match="is of two models: make the new index of the retrieval artifact"):
        export_index(combined_artifact, tmp_path / "items.csv", tmp_path / "out")
    with pytest.raises(ArtifactError, match="no fused file holds two models"):
        build_archive(combined_artifact, name="m", export_path=tmp_path, fused=True)
    with pytest.raises(ArtifactError, match="has no pt2 tower, only onnx, torchscript"):
        build_archive(combined_artifact, name="m", export_path=tmp_path, runtime="pt2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidates": 0}, "candidates in signature.json: expected at least 1, got 0"),
        ({"item_rows": "../rows.npy"}, "names a file outside the artifact"),
        ({"item_rows": "items/other.npy"}, "has no sha256 for items/other.npy; combine the two again"),
        ({"item_ids": None}, "item_ids in signature.json has to be there where item_id is a feature"),
        (
            {"retrieval": {"kind": "ranking"}},
            r"signature\.retrieval in signature.json is of a model of another kind",
        ),
        ({"ranking": None}, "signature.ranking in signature.json: expected dict, got None"),
    ],
)
def test_refuses_a_signature_that_is_malformed(
    combined_artifact: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = Path(shutil.copytree(combined_artifact, tmp_path / "copy"))
    content = json.loads((folder / FILE_NAME).read_text())
    for name, value in change.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    (folder / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=message):
        TwoStageRecommender.load(folder)


def test_the_kind_is_read_from_the_file(combined_artifact: Path, artifact: Path) -> None:
    assert isinstance(read_signature(combined_artifact), CombinedSignature)
    assert isinstance(read_signature(artifact), Signature)
