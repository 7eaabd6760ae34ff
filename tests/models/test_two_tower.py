import numpy as np
import pytest
import torch

from torchtowers.data.hidden_item_batches import HiddenItemBatches
from torchtowers.handlers.encoders import TokenEncoder, Vocabulary
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.experiment import Trained
from torchtowers.models.towers import Tower
from torchtowers.models.two_tower import TwoTower, build_tower, build_two_tower


def test_embeddings_have_length_one_and_end_in_one_and_the_bias(trained: Trained) -> None:
    dataset, model = trained.dataset, trained.towers.eval()
    rows = np.array([0, 3, 7])
    queries = model.query_tower(to_tensors(dataset.users.take(rows)))
    candidates = model.candidate_tower(to_tensors(dataset.items.take(rows)))
    assert queries.shape == candidates.shape == (3, 9)
    torch.testing.assert_close(queries[:, :-1].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(candidates[:, :-1].norm(dim=1), torch.ones(3))
    assert queries[:, -1].tolist() == [1.0, 1.0, 1.0]
    bias = model.candidate_tower.bias.table.weight[rows + 2, 0]  # type: ignore[union-attr,index]
    torch.testing.assert_close(candidates[:, -1], bias)


def test_a_batch_of_one_is_a_row_of_a_larger_batch(trained: Trained) -> None:
    dataset, tower = trained.dataset, trained.towers.eval().query_tower
    many = tower(to_tensors(dataset.users.take(np.arange(9))))
    for row in range(9):
        alone = tower(to_tensors(dataset.users.take(np.array([row]))))
        torch.testing.assert_close(alone, many[row : row + 1])


def test_without_bias_and_normalisation_a_score_is_a_plain_dot_product(trained: Trained) -> None:
    dataset = trained.dataset
    model = build_two_tower(
        dataset.users.encoders,
        dataset.items.encoders,
        query_key="user_id",
        candidate_key="item_id",
        dim=5,
        item_bias=False,
        normalize=False,
    ).eval()
    queries = model.query_tower(to_tensors(dataset.users.take(np.arange(4))))
    assert queries.shape == (4, 5)
    assert not torch.allclose(queries.norm(dim=1), torch.ones(4))


def test_a_feature_may_be_called_what_a_module_is_called() -> None:
    encoders = {
        name: TokenEncoder(Vocabulary(["a"])) for name in ("type", "values", "items", "training", "forward")
    }
    tower = build_tower(encoders, key="type", embedding_dim=2, hidden=[], dim=3).eval()
    inputs = {name: torch.tensor([2, 1]) for name in encoders}
    assert tower(inputs).shape == (2, 3)


def test_features_as_wide_as_the_embedding_are_summed() -> None:
    encoders = {name: TokenEncoder(Vocabulary(["a", "b"])) for name in ("id", "colour")}
    tower = build_tower(encoders, key="id", embedding_dim=3, hidden=[], dim=3, normalize=False).eval()
    inputs = {"id": torch.tensor([2, 3]), "colour": torch.tensor([3, 0])}
    tables = list(tower.tables.values())
    torch.testing.assert_close(tower(inputs), tables[0](inputs) + tables[1](inputs))
    assert torch.equal(torch.jit.script(tower)(inputs), tower(inputs))
    # A layer over them where widths differ.
    assert len(build_tower(encoders, key="id", embedding_dim=2, hidden=[], dim=3).layers) == 2


def test_features_that_can_not_be_summed_are_refused() -> None:
    with pytest.raises(
        ValueError, match="width, 3, and no hidden layers; got 1 features of together 2, and 0"
    ):
        Tower({"id": torch.nn.Identity()}, width=2, hidden=[], dim=3, summed=True)


def test_the_loss_of_hidden_items_is_the_softmax_over_the_catalogue_without_what_is_shown(
    trained: Trained,
) -> None:
    dataset, model = trained.dataset, trained.towers.eval()
    batch = next(HiddenItemBatches(dataset, 6, seed=0).epoch(0))
    assert isinstance(model, TwoTower)
    queries = model.query_tower(to_tensors(batch.query))
    candidates = model.candidate_tower(to_tensors(dataset.items.take(np.arange(len(dataset.items)))))
    scores = (queries @ candidates.T).detach() / model.task.temperature
    scores[batch.shown[0], batch.shown[1]] = -torch.inf
    weight = torch.from_numpy(np.bincount(batch.targets[0])[batch.targets[0]]) ** -0.5
    losses = -scores.log_softmax(1)[batch.targets[0], batch.targets[1]]
    loss = model.compute_loss(batch)
    assert loss.item() == pytest.approx(float((losses * weight).sum() / weight.sum()), rel=1e-5)
