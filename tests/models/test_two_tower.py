import numpy as np
import torch

from torchtowers.handlers.encoders import TokenEncoder, Vocabulary
from torchtowers.models.batch_tensors import to_tensors
from torchtowers.models.experiment import Trained
from torchtowers.models.two_tower import build_tower, build_two_tower


def test_embeddings_have_length_one_and_end_in_one_and_the_bias(trained: Trained) -> None:
    dataset, model = trained.dataset, trained.model.eval()
    rows = np.array([0, 3, 7])
    queries = model.query_tower(to_tensors(dataset.users.take(rows)))
    candidates = model.candidate_tower(to_tensors(dataset.items.take(rows)))
    assert queries.shape == candidates.shape == (3, 9)
    torch.testing.assert_close(queries[:, :-1].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(candidates[:, :-1].norm(dim=1), torch.ones(3))
    assert queries[:, -1].tolist() == [1.0, 1.0, 1.0]
    bias = model.candidate_tower.bias.weight[rows + 2, 0]  # type: ignore[union-attr,index]
    torch.testing.assert_close(candidates[:, -1], bias)


def test_a_batch_of_one_is_a_row_of_a_larger_batch(trained: Trained) -> None:
    dataset, tower = trained.dataset, trained.model.eval().query_tower
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
