import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torchtowers.data.ragged import Ragged
from torchtowers.data.sequence_batches import SequenceBatch, SequenceBatches
from torchtowers.export.onnx import export_onnx
from torchtowers.export.torchscript import export_torchscript
from torchtowers.handlers.encoders import FIRST_TOKEN, Encoder, TokenEncoder, TokenListEncoder, Vocabulary
from torchtowers.handlers.runtime import load_tower
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.embeddings import TokenEmbedding
from torchtowers.models.evaluation import model_scorer
from torchtowers.models.experiment import Trained
from torchtowers.models.gru import GRUEncoder
from torchtowers.models.id_tower import IdTower
from torchtowers.models.run import Run
from torchtowers.models.sequential_two_tower import (
    HistoryTower,
    SequentialTwoTower,
    build_gru4rec,
    build_sasrec,
)
from torchtowers.models.training import fit

Build = Callable[..., SequentialTwoTower]
BUILDERS = [build_gru4rec, build_sasrec]
NAMES: dict[str, Any] = {"history": "history", "candidate_key": "item_id"}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def batch_of(
    items: list[list[int]],
    negatives: list[int],
    begins: list[bool] | None = None,
    earlier: list[list[int]] | None = None,
) -> SequenceBatch:
    learnt = np.array(items) > 0
    learnt[:, 0] &= np.array([True] * len(items) if begins is None else begins)
    return SequenceBatch(
        np.array(items),
        np.full(np.shape(items), 0.2, dtype=np.float32),
        np.array(negatives),
        np.linspace(0.1, 0.3, len(negatives), dtype=np.float32),
        learnt,
        np.array([[0]] * len(items) if earlier is None else earlier),
    )


@pytest.mark.parametrize("build", BUILDERS)
def test_the_query_is_the_state_of_the_last_item_wherever_the_padding_is(build: Build) -> None:
    tower = build(9, **NAMES, dim=8).eval().query_tower
    histories = torch.tensor([[5, 3, 7, 0, 0], [0, 0, 5, 3, 7], [5, 0, 3, 0, 7], [5, 3, 8, 0, 0]])
    embeddings = tower({"history": histories, "user_id": torch.zeros(4, dtype=torch.int64)})
    assert embeddings.shape == (4, 8)
    torch.testing.assert_close(embeddings[1:3], embeddings[:1].expand(2, -1))
    assert not torch.allclose(embeddings[3], embeddings[0], atol=1e-3)
    torch.testing.assert_close(tower({"history": torch.tensor([[5, 3, 7]])}), embeddings[:1])


@pytest.mark.parametrize("build", BUILDERS)
def test_an_empty_history_has_an_embedding_that_is_learnt(build: Build) -> None:
    model = build(9, **NAMES, dim=8)
    loss = model.compute_loss(batch_of([[4]], [3, 5, 6]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.query_tower.empty.grad is not None
    assert model.query_tower.empty.grad.abs().sum() > 0
    with torch.no_grad():
        model.query_tower.empty.copy_(torch.arange(8.0))
    embeddings = model.eval().query_tower({"history": torch.tensor([[0, 0], [4, 0]])})
    assert embeddings[0].tolist() == list(range(8))
    assert torch.isfinite(embeddings).all()


@pytest.mark.parametrize("build", BUILDERS)
def test_both_towers_have_one_table_with_a_sparse_gradient(build: Build) -> None:
    model = build(9, **NAMES, dim=8)
    assert model.query_tower.table is model.candidate_tower.table
    items = torch.tensor([2, 8])
    torch.testing.assert_close(model.candidate_tower({"item_id": items}), model.query_tower.table(items))
    model.compute_loss(batch_of([[2, 3, 0]], [5])).backward()  # type: ignore[no-untyped-call]
    gradient = model.query_tower.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert gradient.coalesce().indices().flatten().tolist() == [2, 3, 5]


def test_towers_that_do_not_fit_each_other_are_refused() -> None:
    one = TokenEmbedding(5, 2)
    query = HistoryTower(one, GRUEncoder(2, hidden=2), history="history")
    with pytest.raises(ValueError, match="one tower has a bias"):
        SequentialTwoTower(query, IdTower(one, key="item_id", bias=True))
    with pytest.raises(ValueError, match="one tower normalises"):
        SequentialTwoTower(query, IdTower(one, key="item_id", normalize=True))
    with pytest.raises(ValueError, match="positive, got 0"):
        SequentialTwoTower(query, IdTower(one, key="item_id"), temperature=0)
    strange: Any = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="an IdTower, got Linear and IdTower"):
        SequentialTwoTower(strange, IdTower(one, key="item_id"))
    with pytest.raises(ValueError, match="got HistoryTower and Linear"):
        SequentialTwoTower(query, strange)


@torch.inference_mode()
@pytest.mark.parametrize("build", BUILDERS)
def test_the_loss_is_the_mean_of_the_next_items_sampled_softmax(build: Build) -> None:
    model = build(12, **NAMES, dim=8).eval()
    model.query_tower.empty.normal_()
    histories, negatives = [[4, 7, 5], [9, 0, 0], [3, 11, 0]], [5, 6, 7, 6]
    batch = batch_of(histories, negatives)
    losses = []
    for history in histories:
        known = [item for item in history if item]
        for place, item in enumerate(known):
            # An answer in serving, of the items before alone.
            query = model.query_tower({"history": torch.tensor([known[:place] or [0]])})[0]
            losses.append(expected_loss(model, query, item, batch))
    assert len(losses) == 6
    assert float(model.compute_loss(batch)) == pytest.approx(sum(losses) / 6, abs=1e-5)


@pytest.mark.parametrize("build", BUILDERS)
def test_the_first_item_of_a_part_from_the_middle_is_not_learnt(build: Build) -> None:
    model = build(12, **NAMES, dim=8).eval()
    negatives = [5, 6, 7, 6]
    batch = batch_of([[4, 7, 5], [9, 3, 0]], negatives, begins=[False, True])
    with torch.inference_mode():
        losses = [
            expected_loss(model, model.query_tower({"history": torch.tensor([known])})[0], item, batch)
            for known, item in (([4], 7), ([4, 7], 5), ([0], 9), ([9], 3))
        ]
    assert model.compute_loss(batch).item() == pytest.approx(sum(losses) / 4, abs=1e-5)
    model.compute_loss(batch_of([[4, 7, 5]], negatives, begins=[False])).backward()  # type: ignore[no-untyped-call]
    empty = model.query_tower.empty.grad
    assert empty is not None
    assert (empty == 0).all()


@torch.inference_mode()
@pytest.mark.parametrize("build", BUILDERS)
def test_what_a_user_had_is_no_negative_where_it_is_masked(build: Build) -> None:
    settings = {"pooled": True, "shared": False, "normalize": True, "item_bias": True, "mask_seen": True}
    model = build(12, **NAMES, dim=8, temperature=0.5, **settings).eval()
    # 6 came before the part; 4 is a negative of itself only.
    negatives = np.arange(2, 12)
    batch = batch_of([[4, 7, 5]], negatives.tolist(), begins=[False], earlier=[[6, 0]])
    batch = dataclasses.replace(batch, negative_probability=np.full(10, 0.1, dtype=np.float32))
    items = model.candidate_tower({"item_id": torch.from_numpy(negatives)})
    losses = []
    for known, item in (([4], 7), ([4, 7], 5)):
        (query,) = model.query_tower({"history": torch.tensor([known])})
        logits = items @ query / 0.5
        # The positive's probability, 0.2, is twice the negatives'.
        logits[item - 2] -= math.log(2)
        allowed = [index for index in negatives.tolist() if index not in [6, *known]]
        logits = logits[torch.tensor(allowed) - 2]
        losses.append(float(logits.logsumexp(0) - logits[allowed.index(item)]))
    assert float(model.compute_loss(batch)) == pytest.approx(sum(losses) / 2, abs=1e-5)


def test_a_pooled_history_and_cosines_are_what_the_settings_say() -> None:
    model = build_gru4rec(9, **NAMES, dim=4, pooled=True, normalize=True, item_bias=True, shared=False).eval()
    tower = model.query_tower
    with torch.no_grad():
        for parameter in tower.encoder.parameters():
            parameter.zero_()
    assert tower.pooled is not None
    (embedding,) = tower({"history": torch.tensor([[0, 5, 3]])})
    pooled = tower.pooled.weight[[5, 3]].sum(0)
    torch.testing.assert_close(embedding, torch.cat([pooled / pooled.norm(), torch.ones(1)]))
    (item,) = model.candidate_tower({"item_id": torch.tensor([5])})
    assert item.shape == (5,)
    assert float(item[:4].detach().norm()) == pytest.approx(1)
    assert model.candidate_tower.table is not tower.table


def test_histories_longer_than_the_encoder_sees_are_not_learnt_from() -> None:
    model = build_sasrec(12, **NAMES, dim=8, max_length=2)
    model.compute_loss(batch_of([[4, 7, 5]], [3]))
    with pytest.raises(ValueError, match="from the 3 before it, but the encoder sees 2"):
        model.compute_loss(batch_of([[4, 7, 5, 6]], [3]))
    # In an answer the last items count, also while training.
    assert model.query_tower({"history": torch.tensor([[4, 7, 5, 6]])}).shape == (1, 8)


@pytest.mark.parametrize("build", BUILDERS)
def test_histories_of_no_length_are_empty(build: Build) -> None:
    tower = build(9, **NAMES, dim=8).eval().query_tower
    with torch.no_grad():
        tower.empty.normal_()
    histories = torch.zeros(3, 0, dtype=torch.int64)
    for called in (tower, torch.jit.script(tower)):
        assert torch.equal(called({"history": histories}), tower.empty.expand(3, -1))
        assert called({"history": histories[:0]}).shape == (0, 8)


def expected_loss(model: SequentialTwoTower, query: Tensor, item: int, batch: SequenceBatch) -> float:
    def score(index: int, probability: float) -> float:
        return float(query @ model.candidate_tower.table.weight[index]) - math.log(probability)

    positive = score(item, 0.2)
    others = [
        score(int(index), float(probability))
        for index, probability in zip(batch.negatives, batch.negative_probability, strict=True)
        if index != item
    ]
    return math.log(sum(math.exp(value) for value in [positive, *others])) - positive


ITEMS = 30
SIZE = ITEMS + FIRST_TOKEN


def walks(users: int, length: int, generator: np.random.Generator) -> np.ndarray:
    """Histories in which an item tells, nine times of ten, the item two places later."""
    successor = np.random.default_rng(0).permutation(ITEMS)
    items = generator.integers(0, ITEMS, (users, length))
    for place in range(2, length):
        told = generator.random(users) < 0.9
        items[told, place] = successor[items[told, place - 2]]
    return items + FIRST_TOKEN


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Steps this small are many times slower on several threads of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "make",
    [
        lambda: build_gru4rec(SIZE, **NAMES, dim=32, hidden=32),
        lambda: build_sasrec(SIZE, **NAMES, dim=32, max_length=11, dropout=0.1),
    ],
    ids=["gru4rec", "sasrec"],
)
def test_it_learns_a_process_that_popularity_and_the_last_item_cannot_tell(make: Build) -> None:
    generator = np.random.default_rng(1)
    train, test = walks(400, 12, generator), walks(500, 12, generator)
    batches = SequenceBatches(Ragged.of(train), SIZE, 64, seed=0, max_length=11, negatives=32)
    model = make()
    table = model.query_tower.table.weight
    sparse = torch.optim.SparseAdam([table], lr=0.01)
    dense = torch.optim.Adam([weight for weight in model.parameters() if weight is not table], lr=0.01)
    for epoch in range(25):
        for batch in batches.epoch(epoch):
            model.compute_loss(batch).backward()  # type: ignore[no-untyped-call]
            for optimizer in (sparse, dense):
                optimizer.step()  # type: ignore[no-untyped-call]
                optimizer.zero_grad()
    model.eval()
    with torch.inference_mode():
        queries = model.query_tower({"history": torch.from_numpy(test[:, :-1])})
        items = model.candidate_tower({"item_id": torch.arange(FIRST_TOKEN, SIZE)})
    best = (queries @ items.T).argmax(1).numpy() + FIRST_TOKEN
    hit_rate = (best == test[:, -1]).mean()
    popular = np.bincount(train.flatten()).argmax()
    assert (popular == test[:, -1]).mean() < 0.1
    assert hit_rate > 0.75


def test_a_data_set_trains_it_and_evaluation_takes_it_as_a_two_tower(trained: Trained) -> None:
    dataset = trained.dataset
    assert dataset.full_history is not None
    size = dataset.items.encoders["item_id"].size
    model = build_sasrec(size, **NAMES, dim=8, max_length=12)
    batches = SequenceBatches(dataset.full_history, size, 16, seed=0, max_length=12)
    loss = model.compute_loss(next(batches.epoch(0)))
    assert 0 < loss.item() < 10
    scorer = model_scorer(model, dataset)
    users = np.arange(5)
    scores = scorer(users)
    assert scores.shape == (5, len(dataset.items))
    with torch.inference_mode():
        query = model.query_tower(to_tensors(dataset.users.take(users[3:4])))
        item = model.candidate_tower({"item_id": torch.tensor([FIRST_TOKEN + 7])})
    assert scores[3, 7] == pytest.approx((query @ item.T).item(), abs=1e-6)


def test_the_training_loop_takes_it_and_its_run_is_read_back(trained: Trained, tmp_path: Path) -> None:
    dataset = trained.dataset
    assert dataset.full_history is not None
    size = dataset.items.encoders["item_id"].size
    run = Run(tmp_path / "run")
    run.begin(trained.config, dataset.fitted)
    model, read = (build_gru4rec(size, **NAMES, dim=8, hidden=8) for _ in range(2))
    batches = SequenceBatches(dataset.full_history, size, 16, seed=0, max_length=12)
    fit(model, batches, trained.config.training, run, show_progress=False)
    run.load_model(read)
    torch.testing.assert_close(read.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert read.query_tower.table is read.candidate_tower.table


def encoders() -> tuple[dict[str, Encoder], dict[str, Encoder]]:
    users, items = Vocabulary(["u1", "u2"]), Vocabulary([f"i{number}" for number in range(20)])
    query: dict[str, Encoder] = {"user_id": TokenEncoder(users), "history": TokenListEncoder(items, 9)}
    return query, {"item_id": TokenEncoder(items), "genre": TokenEncoder(users)}


# torch's own, of every nn.GRU that it exports.
@pytest.mark.filterwarnings("ignore:The tensor attributes .*_flat_weights:UserWarning")
@pytest.mark.parametrize(
    "make",
    [
        # Two layers have what one has.
        pytest.param(
            lambda: build_gru4rec(22, **NAMES, dim=8, hidden=8, dropout=0.1), marks=pytest.mark.slow
        ),
        lambda: build_gru4rec(22, **NAMES, dim=8, hidden=12, layers=2),
        lambda: build_sasrec(22, **NAMES, dim=8, max_length=6, heads=2),
        lambda: build_gru4rec(22, **NAMES, dim=8, pooled=True, shared=False, normalize=True, item_bias=True),
    ],
    ids=["gru4rec", "gru4rec_of_two_layers", "sasrec", "gru4rec_with_the_pooled_history"],
)
def test_exported_towers_are_equal_to_eager_at_every_batch_and_length(make: Build, tmp_path: Path) -> None:
    model = make().eval()
    with torch.no_grad():
        model.query_tower.empty.normal_()
    generator = np.random.default_rng(0)
    for tower, features in zip((model.query_tower, model.candidate_tower), encoders(), strict=True):
        export_onnx(tower, features, tmp_path / "tower.onnx")
        export_torchscript(tower, tmp_path / "tower.pt")
        exported = [
            load_tower("onnx", tmp_path / "tower.onnx"),
            load_tower("torchscript", tmp_path / "tower.pt"),
        ]
        # The first of a batch has an empty history; 9 is more than SASRec sees.
        for batch, length in ((1, 1), (1, 4), (2, 1), (7, 3), (3, 9), (64, 6)):
            inputs = {
                name: generator.integers(2, encoder.size, (batch, length) if encoder.is_list else batch)
                for name, encoder in features.items()
            }
            if "history" in inputs:
                inputs["history"] *= generator.random((batch, length)) < 0.7
                inputs["history"][0] = 0
            with torch.inference_mode():
                expected = tower({name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
            for run in exported:
                for _ in range(3):
                    np.testing.assert_allclose(run(inputs), expected, rtol=1e-5, atol=1e-5)
