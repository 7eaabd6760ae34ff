"""From a body to an answer: by hand with the small recommender, and with a real artifact."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.handlers.served import runtime_of
from tests.handlers.small import ITEMS, small_recommender
from torchtowers.handlers.errors import ArtifactError, FieldError, LimitError, RequestError, SignatureError
from torchtowers.handlers.limits import Limits
from torchtowers.handlers.recommender import Recommender
from torchtowers.handlers.signature import Signature, sha256_of
from torchtowers.handlers.strings import StringTable
from torchtowers.models.experiment import Trained


@pytest.fixture
def small(tmp_path: Path) -> Recommender:
    return small_recommender(tmp_path, limits=Limits(max_k=50))


# u1 asks with [2, 2]: the items score 2, 2, 4, 4. A user with an age alone asks with [bucket, 0].
@pytest.mark.parametrize(
    ("body", "items", "scores"),
    [
        ({"user_id": "u1"}, ["12", "13", "10", "11"], [4, 4, 2, 2]),
        ({"user_id": "u1", "k": 1}, ["12"], [4]),
        ({"user_id": "u1", "k": 50}, ["12", "13", "10", "11"], [4, 4, 2, 2]),
        ({"user_id": "u1", "exclude": ["12", 10, "nothing"]}, ["13", "11"], [4, 2]),
        ({"user_id": "u1", "exclude": ["13"], "k": 1}, ["12"], [4]),
        ({"user_id": "u1", "exclude": list(ITEMS)}, [], []),
        # The whole history is left out, also the item that the tower does not get any more.
        ({"user_id": "u1", "exclude_history": True}, ["13"], [4]),
        ({"user_id": "u1", "exclude_history": True, "exclude": ["13"]}, [], []),
        ({"user_id": "u1", "exclude_history": False}, ["12", "13", "10", "11"], [4, 4, 2, 2]),
        # A history that is sent, longer than the tower takes, goes before the known one: again [2, 2].
        (
            {"user_id": "u1", "history": ["13", "nothing", 11, "10"], "exclude_history": True},
            ["12"],
            [4],
        ),
        ({"user_id": "u1", "history": [], "exclude_history": True}, ["13", "10", "12", "11"], [4, 2, 2, 0]),
        ({"user_id": "u2", "exclude_history": True, "k": 2}, ["10", "11"], [0, 0]),
        ({"user_id": "new", "age": 40, "k": 2}, ["13", "10"], [6, 3]),
        ({"user_id": "new"}, ["10", "11", "12", "13"], [0, 0, 0, 0]),
    ],
)
def test_by_hand(small: Recommender, body: dict[str, Any], items: list[str], scores: list[float]) -> None:
    assert small.recommend(body) == {"items": items, "scores": scores}


def test_instances_and_columns_by_hand(small: Recommender) -> None:
    body = {
        "instances": [{"user_id": "u1", "k": 2}, {"user_id": "new", "age": 40}],
        "k": 1,
        "fields": ["title"],
    }
    assert small.recommend(body) == {
        "predictions": [
            {"items": ["12", "13"], "scores": [4, 4], "fields": {"title": [None, 'The "Thing"']}},
            {"items": ["13"], "scores": [6], "fields": {"title": ['The "Thing"']}},
        ]
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [({}, FieldError), ({"user_id": "u1", "k": 51}, FieldError), ({"instances": [{}] * 1001}, LimitError)],
)
def test_refuses(small: Recommender, body: dict[str, Any], error: type[RequestError]) -> None:
    with pytest.raises(error):
        small.recommend(body)


def test_a_model_without_history_answers(tmp_path: Path) -> None:
    small = small_recommender(tmp_path, history=None)
    assert small.recommend({"user_id": "u1", "k": 1})["items"] == ["12"]
    with pytest.raises(FieldError, match="this model has no history"):
        small.recommend({"user_id": "u1", "exclude_history": True})


# ---- a real artifact ----


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    """The artifact, to be damaged."""
    return Path(shutil.copytree(artifact, tmp_path / "copy"))


def sign_again(folder: Path) -> None:
    """Make the signature fit the files, as for a damage that was there before it."""
    signature = Signature.read(folder)
    replace(signature, files={name: sha256_of(folder / name) for name in signature.files}).write(folder)


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_answers_as_the_trained_model(artifact: Path, trained: Trained, runtime: str) -> None:
    import torch

    from torchtowers.models.batch_tensors import to_tensors
    from torchtowers.models.evaluation import embed_candidates

    recommender = Recommender.load(artifact, runtime=runtime)
    answer = recommender.recommend({"user_id": "u3", "k": 1000})
    row = np.array([trained.dataset.users.tokens.index("u3")])
    with torch.inference_mode():
        query = trained.towers.eval().query_tower(to_tensors(trained.dataset.users.take(row))).numpy()
    expected = (query @ embed_candidates(trained.towers, trained.dataset).T)[0]
    items = trained.dataset.items.tokens
    assert sorted(answer["items"]) == sorted(items)
    np.testing.assert_allclose(answer["scores"], sorted(expected, reverse=True), atol=1e-5)
    by_item = dict(zip(answer["items"], answer["scores"], strict=True))
    np.testing.assert_allclose([by_item[item] for item in items], expected, atol=1e-5)


def test_takes_onnx_where_there_are_both(artifact: Path) -> None:
    assert runtime_of(Recommender.load(str(artifact))) == "onnx"


def test_refuses_an_altered_file(copy: Path) -> None:
    path = copy / "index/embeddings.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"index/embeddings.npy in copy was altered"):
        Recommender.load(copy)


def test_refuses_a_missing_file(copy: Path) -> None:
    (copy / "encoders/gender.slots.npy").unlink()
    with pytest.raises(ArtifactError, match=r"encoders/gender.slots.npy is missing from copy"):
        Recommender.load(copy)


def test_refuses_a_missing_signature(copy: Path) -> None:
    (copy / "signature.json").unlink()
    with pytest.raises(SignatureError, match="it is not an artifact"):
        Recommender.load(copy)


def test_refuses_another_kind_of_model(copy: Path) -> None:
    replace(Signature.read(copy), kind="clairvoyance").write(copy)
    with pytest.raises(
        SignatureError, match="of a model of kind clairvoyance, this code knows retrieval, rank"
    ):
        Recommender.load(copy)


def test_refuses_a_runtime_that_the_artifact_has_not(copy: Path) -> None:
    with pytest.raises(ArtifactError, match="no tensorrt tower, only onnx, torchscript"):
        Recommender.load(copy, runtime="tensorrt")
    replace(Signature.read(copy), towers={}).write(copy)
    with pytest.raises(ArtifactError, match="no onnx tower"):
        Recommender.load(copy)


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_refuses_the_candidates_tower_in_the_querys_place(copy: Path, runtime: str) -> None:
    name = Signature.read(copy).towers[runtime]
    shutil.copy(copy / name["candidate"], copy / name["query"])
    sign_again(copy)
    with pytest.raises(ArtifactError, match="does not take the signature's features") as caught:
        Recommender.load(copy, runtime=runtime)
    assert "\n" not in str(caught.value)


def test_refuses_an_index_of_another_shape(copy: Path) -> None:
    np.save(copy / "index/embeddings.npy", np.zeros((60, 5), np.float32))
    sign_again(copy)
    with pytest.raises(ArtifactError, match=r"is \(60, 5\), the signature says \(60, 9\)"):
        Recommender.load(copy)


def test_refuses_a_column_of_other_items(copy: Path) -> None:
    StringTable.of(['"a"'] * 59).save(copy, "columns/title")
    sign_again(copy)
    with pytest.raises(ArtifactError, match=r"columns/title in copy has .* values for 60 items"):
        Recommender.load(copy)
