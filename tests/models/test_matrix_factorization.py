from pathlib import Path

import numpy as np
import pytest
import torch

from torchtowers.data.batches import Batch
from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.export.onnx import export_onnx
from torchtowers.export.torchscript import export_torchscript
from torchtowers.handlers.encoders import Encoder, TokenEncoder, Vocabulary
from torchtowers.handlers.runtime import load_tower
from torchtowers.models.matrix_factorization import MatrixFactorization, build_matrix_factorization
from torchtowers.models.retrieval import Retrieval

USERS = ITEMS = 30


def make(dim: int = 4, *, mean: float = 0.0, l2: float = 0.0) -> MatrixFactorization:
    torch.manual_seed(0)
    return build_matrix_factorization(
        USERS + 2, ITEMS + 2, dim, query_key="user_id", candidate_key="item_id", mean=mean, l2=l2
    )


def with_weights(model: MatrixFactorization) -> MatrixFactorization:
    """Set the vectors and biases of user 2, [1, 2] and 0.5, and of item 3, [3, -1] and -0.25."""
    with torch.no_grad():
        for tower, row, vector, bias in (
            (model.query_tower, 2, [1.0, 2.0], 0.5),
            (model.candidate_tower, 3, [3.0, -1.0], -0.25),
        ):
            tower.table.weight[row] = torch.tensor(vector)
            tower.bias.weight[row] = bias
    return model


PAIR = {"user_id": torch.tensor([2]), "item_id": torch.tensor([3])}


def test_a_rating_is_dot_product_plus_biases_plus_mean() -> None:
    model = with_weights(make(2, mean=3.5))
    assert model(PAIR).tolist() == [1.0 + 0.5 - 0.25 + 3.5]
    score = (model.query_tower(PAIR) * model.candidate_tower(PAIR)).sum(1)
    assert score.tolist() == [1.25]
    assert "mean" in model.state_dict()


def test_of_an_unseen_user_the_items_bias_is_left_and_of_both_the_mean() -> None:
    model = with_weights(make(2, mean=3.5))
    assert model({**PAIR, "user_id": torch.tensor([0])}).tolist() == [3.25]
    assert model({"user_id": torch.tensor([0]), "item_id": torch.tensor([0])}).tolist() == [3.5]


def ratings(users: list[int], items: list[int], labels: list[float], **weight: object) -> RankingBatch:
    features = {"user_id": np.array(users), "item_id": np.array(items)}
    return RankingBatch(features, np.array(labels, dtype=np.float32), **weight)  # type: ignore[arg-type]


def test_the_loss_of_ratings_is_the_mean_squared_error() -> None:
    model = with_weights(make(2, mean=3.5))
    assert model.compute_loss(ratings([2], [3], [3.0])).item() == 1.75**2
    weighted = ratings([2, 2], [3, 3], [3.0, 3.0], weight=np.array([0.0, 1.0], dtype=np.float32))
    assert model.compute_loss(weighted).item() == 1.75**2 / 2


def test_l2_adds_the_squared_vectors_and_biases_of_the_batchs_pairs() -> None:
    model = with_weights(make(2, mean=3.5, l2=0.1))
    squares = 1 + 4 + 0.25 + 9 + 1 + 0.0625
    loss = model.compute_loss(ratings([2], [3], [3.0])).item()
    assert loss == pytest.approx(1.75**2 + 0.1 * squares)


def pairs(users: list[int], items: list[int]) -> Batch:
    indices = np.array(items)
    probability = np.linspace(0.1, 0.4, len(items), dtype=np.float32)
    return Batch({"user_id": np.array(users)}, {"item_id": indices}, indices - 2, probability)


def test_the_loss_of_pairs_is_that_of_the_retrieval_task() -> None:
    batch = pairs([2, 5, 6], [3, 4, 3])
    model = make()
    expected = Retrieval(remove_accidental_hits=True, reduction="mean")(
        model.query_tower({"user_id": torch.tensor([2, 5, 6])}),
        model.candidate_tower({"item_id": torch.tensor([3, 4, 3])}),
        candidate_sampling_probability=torch.tensor([0.1, 0.25, 0.4]),
        candidate_ids=torch.tensor([1, 2, 1]),
    )
    torch.testing.assert_close(model.compute_loss(batch), expected)
    assert model.compute_loss(pairs([2], [3])).item() == 0.0
    uncorrected = Batch(batch.query, batch.candidate, batch.items)
    assert not torch.allclose(model.compute_loss(uncorrected), expected, atol=1e-3)


def fit(model: MatrixFactorization, batches: list[Batch] | list[RankingBatch], rate: float) -> None:
    optimizer = torch.optim.SparseAdam(list(model.parameters()), lr=rate)
    for batch in batches:
        model.compute_loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()  # type: ignore[no-untyped-call]
        optimizer.zero_grad()


def test_it_learns_ratings_of_low_rank_better_than_biases_can_tell_them() -> None:
    generator = np.random.default_rng(0)
    left, right = generator.normal(size=(USERS, 2)), generator.normal(size=(ITEMS, 2))
    truth = 3.5 + generator.normal(size=(USERS, 1)) + left @ right.T
    cells = generator.permutation(USERS * ITEMS)
    users, items = np.divmod(cells, ITEMS)
    labels = truth[users, items].astype(np.float32)
    train, test = slice(0, 720), slice(720, None)
    model = make(mean=float(labels[train].mean()), l2=0.002)
    batches = []
    for _ in range(60):
        for chosen in np.array_split(generator.permutation(720), 6):
            features = {"user_id": users[chosen] + 2, "item_id": items[chosen] + 2}
            batches.append(RankingBatch(features, labels[chosen]))
    fit(model, batches, 0.05)
    with torch.inference_mode():
        predicted = model(
            {"user_id": torch.from_numpy(users[test] + 2), "item_id": torch.from_numpy(items[test] + 2)}
        ).numpy()
    error = np.sqrt(np.mean((predicted - labels[test]) ** 2))
    # What is left of the ratings without each user's and item's own mean.
    left_over = truth - truth.mean(0) - truth.mean(1, keepdims=True) + truth.mean()
    assert left_over.std() > 1.0
    assert error < 0.5 * left_over.std()


def test_it_learns_to_retrieve_from_pairs() -> None:
    # Users choose items of their own third.
    generator = np.random.default_rng(0)
    users = generator.integers(0, USERS, 3000)
    items = generator.integers(0, ITEMS // 3, 3000) * 3 + users % 3
    batches = []
    for chosen in np.array_split(np.arange(3000), 50) * 3:
        probability = np.full(len(chosen), 1 / ITEMS, dtype=np.float32)
        batches.append(
            Batch({"user_id": users[chosen] + 2}, {"item_id": items[chosen] + 2}, items[chosen], probability)
        )
    model = make()
    fit(model, batches, 0.05)
    with torch.inference_mode():
        queries = model.query_tower({"user_id": torch.arange(2, USERS + 2)})
        candidates = model.candidate_tower({"item_id": torch.arange(2, ITEMS + 2)})
    best = (queries @ candidates.T).topk(10, dim=1).indices
    own = best % 3 == torch.arange(USERS)[:, None] % 3
    assert own.float().mean() > 0.95


def test_towers_export_equal_to_eager(tmp_path: Path) -> None:
    model = make().eval()
    torch.nn.init.normal_(model.query_tower.bias.weight)
    torch.nn.init.normal_(model.candidate_tower.bias.weight)
    vocabulary = Vocabulary([str(number) for number in range(USERS)])
    for name, tower in (("user_id", model.query_tower), ("item_id", model.candidate_tower)):
        encoders: dict[str, Encoder] = {name: TokenEncoder(vocabulary)}
        export_onnx(tower, encoders, tmp_path / "tower.onnx")
        export_torchscript(tower, tmp_path / "tower.pt")
        for runtime, file in (("onnx", "tower.onnx"), ("torchscript", "tower.pt")):
            run = load_tower(runtime, tmp_path / file)
            for batch in (1, 2, 7):
                indices = np.arange(batch)
                expected = tower({name: torch.from_numpy(indices)}).detach().numpy()
                np.testing.assert_allclose(run({name: indices}), expected, rtol=1e-6)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="l2 must not be negative, got -1"):
        make(l2=-1)
    with pytest.raises(ValueError, match="temperature has to be positive, got 0"):
        build_matrix_factorization(5, 5, 2, query_key="u", candidate_key="i", temperature=0.0)
