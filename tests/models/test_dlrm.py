"""DLRM's widths, and that it learns what only a product of features tells."""

import numpy as np
import pytest
import torch
from torch import nn

from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.dlrm import build_dlrm
from torchtowers.models.ranking_model import RankingModel

SIZES = {"a": 4, "b": 5, "c": 6}


@pytest.mark.parametrize(
    ("dense_dim", "self_interaction", "concat_dense", "width"),
    [
        # Pairs of 3 or 4 features, and the 8 of the dense ones.
        (0, False, True, 3),
        (0, True, True, 6),
        (2, False, False, 6),
        (2, False, True, 14),
        (2, True, True, 18),
    ],
)
def test_the_top_layers_fit_the_dot_products(
    dense_dim: int, self_interaction: bool, concat_dense: bool, width: int
) -> None:
    model = build_dlrm(
        SIZES,
        dense_dim=dense_dim,
        embedding_dim=8,
        self_interaction=self_interaction,
        concat_dense=concat_dense,
    )
    assert first(model).in_features == width + model.padding == 16 * ((width + 15) // 16)
    features = {name: torch.tensor([1, 2]) for name in SIZES}
    if dense_dim:
        features["dense"] = torch.rand(2, dense_dim)
    predictions = model(features)
    assert predictions.shape == (2,)
    assert ((predictions > 0) & (predictions < 1)).all()


def first(model: RankingModel) -> nn.Linear:
    return next(module for module in model.top.modules() if isinstance(module, nn.Linear))


def test_it_learns_which_pairs_agree() -> None:
    torch.manual_seed(0)
    model = build_dlrm({"a": 2, "b": 2}, embedding_dim=4, top_hidden=[8])
    a, b = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    batch = RankingBatch({"a": a, "b": b}, (a == b).astype(np.float32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(300):
        optimizer.zero_grad()
        torch.autograd.backward(model.compute_loss(batch))
        optimizer.step()
    with torch.no_grad():
        predictions = model({"a": torch.from_numpy(a), "b": torch.from_numpy(b)})
    assert (predictions.round().numpy() == batch.labels).all()


def test_the_weights_of_padding_change_nothing_and_stay() -> None:
    model = build_dlrm(SIZES)
    features = {name: torch.tensor([1, 2]) for name in SIZES}
    before = model(features)
    # 3 products stand before 13 columns of zeros.
    assert model.padding == 13
    with torch.no_grad():
        first(model).weight[:, 3:] += 7
    assert torch.equal(model(features), before)
    model(features).sum().backward()
    gradient = first(model).weight.grad
    assert gradient is not None
    assert gradient[:, :3].any()
    assert not gradient[:, 3:].any()


def test_a_single_feature_has_nothing_to_interact_with() -> None:
    with pytest.raises(ValueError, match="a dot product needs two features, got only a"):
        build_dlrm({"a": 4})
    assert build_dlrm({"a": 4}, self_interaction=True)({"a": torch.tensor([1])}).shape == (1,)
