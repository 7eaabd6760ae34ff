"""Fused files answer as encoders, tower and index do, on whatever a request may hold."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.every_kind import every_kind_config, every_kind_tables
from tests.export.fused import FUSABLE
from tests.handlers.served import fused_served, tower_search
from torchtowers.export.artifact import export_artifact
from torchtowers.export.comparison import BATCH_SIZES, TOLERANCE
from torchtowers.export.errors import ExportError
from torchtowers.export.fused_features import KnownFeature, given_features
from torchtowers.handlers.candidate_ranker import CandidateRanker
from torchtowers.handlers.encoders import TokenListEncoder, Vocabulary
from torchtowers.handlers.fused_scorer import FusedScorer
from torchtowers.handlers.fused_search import FusedSearch
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.lookup import FeatureLookup, LookupColumn
from torchtowers.handlers.request import Row
from torchtowers.handlers.signature import Signature
from torchtowers.handlers.tower_search import TowerSearch
from torchtowers.models.experiment import Trained, train

RUNTIMES = ("onnx", "torchscript")
NUMBERS = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**20), 10**20)
)
TEXTS = st.one_of(st.none(), st.sampled_from(["", "city 1", "city 3", "F", "Drama"]), st.text(max_size=5))
TIMES = st.one_of(st.none(), st.integers(0, 4_102_444_800), st.just("2024-02-29T23:59:59+01:00"))
GENRES = ["Comedy", "Drama", "Film-Noir", "Sci-Fi", "rock", "?"]
ITEMS = [str(100 + item) for item in range(61)]
FEATURES = {
    "city": TEXTS.map(lambda text: text and text.encode("utf-8", "ignore").decode()),
    "income": NUMBERS,
    "age": NUMBERS,
    "premium": st.sampled_from([None, True, False]),
    "joined": TIMES,
    "tastes": st.one_of(
        st.none(),
        st.lists(st.tuples(st.sampled_from(GENRES), st.floats(-100, 100, width=32)).map(list), max_size=6),
    ),
    "history": st.one_of(st.none(), st.lists(st.sampled_from(ITEMS), max_size=20)),
}
ROWS = st.builds(
    Row,
    st.fixed_dictionaries(
        {"user_id": st.sampled_from(["u3", "u8", "u1", "u2", "u9", "nobody"])}, optional=FEATURES
    ),
    k=st.just(60),
    exclude=st.lists(st.sampled_from([*ITEMS, "none of them"]), max_size=5).map(tuple),
    exclude_history=st.booleans(),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fused")
    every = train(every_kind_config(features=FUSABLE), folder / "run", tables=every_kind_tables())
    comparisons = export_artifact(every, folder / "artifact", fused=True)
    fused = [comparison for comparison in comparisons if comparison.compared == "fused"]
    assert [(c.runtime, c.batch) for c in fused] == [
        (runtime, batch) for runtime in ("torchscript", "onnx") for batch in BATCH_SIZES
    ]
    assert max(comparison.difference for comparison in comparisons) <= TOLERANCE
    return folder / "artifact"


@pytest.fixture(scope="module")
def towers(folder: Path) -> TowerSearch:
    return tower_search(folder)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_any_values_get_the_answers_of_encoders_tower_and_index(
    towers: TowerSearch, folder: Path, runtime: str
) -> None:
    fused = FusedSearch.load(folder, fused_served(folder, runtime))

    @settings(deadline=None, max_examples=60)
    @given(rows=st.lists(ROWS, min_size=1, max_size=8))
    def check(rows: list[Row]) -> None:
        encoded = [towers.encoder.encode(row) for row in rows]
        queries = towers.tower(towers.encoder.stack(encoded))
        answers = fused.search([fused.encoder.encode(row) for row in rows])
        for query, row, (found, scores) in zip(queries, encoded, answers, strict=True):
            expected = towers.index.vectors.take(slice(None)) @ query
            excluded = towers.excluded(row)
            assert len(found) == 60 - len(set(excluded.tolist()))
            assert not set(found.tolist()) & set(excluded.tolist())
            np.testing.assert_allclose(scores, expected[found], atol=TOLERANCE)
            assert (np.diff(scores) <= 0).all()

    check()


def test_the_graph_takes_strings_and_numbers_in_standard_operators(folder: Path) -> None:
    model = onnx.load(folder / "fused.onnx", load_external_data=False)
    assert {imported.domain for imported in model.opset_import} == {"", "ai.onnx.ml"}
    assert not model.functions
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    kinds = onnx.TensorProto
    assert types["user_id"] == types["history"] == types["exclude"] == kinds.STRING
    assert types["income"] == types["joined"] == kinds.DOUBLE
    assert types["premium"] == types["k"] == kinds.INT64
    assert types["tastes.weight"] == kinds.FLOAT
    assert types["city.given"] == types["exclude_history"] == kinds.BOOL
    assert [value.name for value in model.graph.output] == ["items", "scores"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_fewer_than_k_where_fewer_are_left_and_ties_go_by_row(
    towers: TowerSearch, folder: Path, runtime: str
) -> None:
    fused = FusedSearch.load(folder, fused_served(folder, runtime))

    def found(*rows: Row) -> list[list[int]]:
        return [items.tolist() for items, _ in fused.search([fused.encoder.encode(row) for row in rows])]

    names = towers.ids.json_values("ids")
    rows = [Row({"user_id": "u3"}, k=1000, exclude=tuple(names[:-2])), Row({"user_id": "u3"}, k=1000)]
    few, all_of_them = found(*rows)
    assert sorted(few) == [58, 59]
    assert sorted(all_of_them) == list(range(60))
    # Each row of a batch gets as many as it asks for.
    three, two = found(replace(rows[1], k=3), replace(rows[1], k=2))
    assert (three, two) == (all_of_them[:3], all_of_them[:2])


@pytest.mark.parametrize(
    "feature",
    [
        {"kind": "hashed_token", "buckets": 8},
        {"kind": "token", "oov_buckets": 3},
        {"kind": "unified_token", "buckets": 50, "hashes": 2},
    ],
)
def test_what_no_graph_can_do_is_refused_by_name_and_leaves_nothing(
    tmp_path: Path, feature: dict[str, object]
) -> None:
    user: dict[str, object] = {"user_id": {"kind": "token"}, "gender": feature}
    config = every_kind_config(features={"user": user, "item": {"item_id": {"kind": "token"}}})
    trained = train(config, tmp_path / "run", tables=every_kind_tables())
    with pytest.raises(ExportError, match=r"feature gender can't be fused: a .*; export without --fused"):
        export_artifact(trained, tmp_path / "out" / "a", ("torchscript",), fused=True)
    assert not list((tmp_path / "out").iterdir())


def test_fused_needs_a_format_that_can_hold_it(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a fused file is of format torchscript or onnx"):
        export_artifact(trained, tmp_path / "a", ("pt2",), fused=True)


def test_a_ranking_model_scores_candidates_by_their_ids(ranking_trained: Trained, tmp_path: Path) -> None:
    comparisons = export_artifact(ranking_trained, tmp_path / "a", fused=True)
    assert sum(comparison.compared == "fused" for comparison in comparisons) == 2 * len(BATCH_SIZES)
    ranker = CandidateRanker.load(tmp_path / "a")
    lists: list[list[object]] = [["100", "none of them", "103"], ["100"], ["150", "\ud800", 101]]
    body = {
        "instances": [
            {"user_id": "u3", "hour": hour, "candidates": items}
            for hour, items in zip((13, None, 5), lists, strict=True)
        ]
    }
    expected = ranker.rank(body)["predictions"]
    for runtime in RUNTIMES:
        fused = FusedScorer.load(tmp_path / "a", fused_served(tmp_path / "a", runtime))
        answers = CandidateRanker(ranker.signature, fused, Limits()).rank(body)["predictions"]
        for answer, row in zip(answers, expected, strict=True):
            assert answer["items"] == row["items"]
            np.testing.assert_allclose(answer["scores"], row["scores"], atol=TOLERANCE)


def test_a_known_list_is_padded_to_the_longest_that_is_asked_for() -> None:
    column = LookupColumn(np.arange(2, 12), np.array([0, 1, 10, 10]))
    encoder = TokenListEncoder(Vocabulary(map(str, range(20))), 20)
    feature = KnownFeature("list", encoder, FeatureLookup((column,)))
    asked = [([0, -1], [[2], [0]]), ([2], [[0]]), ([0, 1], [[2, *[0] * 8], [*range(3, 12)]])]
    for rows, expected in asked:
        for module in (feature, torch.jit.script(feature)):
            assert module(torch.tensor(rows))["list"].tolist() == expected


def test_the_opset_can_be_chosen(ranking_trained: Trained, tmp_path: Path) -> None:
    export_artifact(ranking_trained, tmp_path / "a", ("onnx",), fused=True, opset=20)
    assert Signature.read(tmp_path / "a").onnx_opset == 20
    for name in ("ranker", "fused"):
        imported = onnx.load(tmp_path / "a" / f"{name}.onnx").opset_import
        assert {entry.domain: entry.version for entry in imported}[""] == 20
    with pytest.raises(ExportError, match=r"opset has to be from 18 to 23, .* got 9"):
        export_artifact(ranking_trained, tmp_path / "b", ("onnx",), opset=9)


def test_a_list_with_an_empty_token_is_refused(artifact: Path) -> None:
    encoder = tower_search(artifact).encoder
    history = encoder.encoders["history"]
    assert isinstance(history, TokenListEncoder)
    encoder.encoders["history"] = TokenListEncoder(
        Vocabulary([*history.vocabulary.tokens[1:], ""]), history.max_length
    )
    with pytest.raises(ExportError, match="feature history can't be fused: one of its tokens is the empty"):
        given_features(encoder)
