"""Deep & Cross: the cross layers one by one, both structures, and what only a product of features tells."""

import numpy as np
import pytest
import torch
from torch import nn

from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.models.cross import Cross
from torchtowers.models.dcn import CrossNetwork, build_dcn

SIZES = {"a": 4, "b": 5}


def crosses(network: CrossNetwork) -> list[Cross]:
    return [module for module in network.modules() if isinstance(module, Cross)]


def test_each_layer_crosses_the_first_input_with_the_last_output() -> None:
    network = CrossNetwork(3, num_layers=2)
    for layer in crosses(network):
        nn.init.eye_(layer.linear.weight)
    x0 = torch.tensor([[1.0, 2.0, 3.0]])
    x1 = x0 * x0 + x0
    torch.testing.assert_close(network(x0[:, :, None]).detach(), x0 * x1 + x1)


def test_low_ranks_and_the_diagonal_reach_the_layers() -> None:
    network = CrossNetwork(6, num_layers=2, projection_dim=2, diag_scale=0.5)
    assert [layer.projection.weight.shape for layer in crosses(network)] == [(2, 6)] * 2
    for layer in crosses(network):
        nn.init.zeros_(layer.linear.weight)
    x0 = torch.full((1, 6), 2.0)
    # 2 * (0.5 * 2) + 2 = 4, and 2 * (0.5 * 4) + 4 = 8.
    torch.testing.assert_close(network(x0[:, None]).detach(), torch.full((1, 6), 8.0))


def test_a_parallel_deep_network_sees_the_same_input() -> None:
    network = CrossNetwork(3, deep=[5, 2])
    assert network.deep is not None
    x0 = torch.randn(4, 3)
    both = network(x0[:, None])
    assert both.shape == (4, 5)
    torch.testing.assert_close(both[:, 3:], network.deep(x0))
    assert (both[:, 3:] >= 0).all()


@pytest.mark.parametrize(
    ("dense_dim", "parallel", "concat_dense", "width", "layers"),
    [
        (0, False, True, 16, 2),
        (2, False, False, 24, 2),
        (2, False, True, 32, 2),
        # 7 of the deep network, whose layers stand before the last one.
        (2, True, True, 39, 1),
        (0, True, True, 23, 1),
    ],
)
def test_the_top_layers_fit(
    dense_dim: int, parallel: bool, concat_dense: bool, width: int, layers: int
) -> None:
    model = build_dcn(
        SIZES,
        dense_dim=dense_dim,
        embedding_dim=8,
        deep_hidden=[7],
        parallel=parallel,
        concat_dense=concat_dense,
    )
    linears = [module for module in model.top.modules() if isinstance(module, nn.Linear)]
    assert len(linears) == layers
    assert linears[0].in_features == width
    features = {name: torch.tensor([1]) for name in SIZES}
    if dense_dim:
        features["dense"] = torch.rand(1, dense_dim)
    assert model(features).shape == (1,)


@pytest.mark.parametrize("parallel", [False, True])
def test_it_learns_which_pairs_agree(parallel: bool) -> None:
    torch.manual_seed(0)
    model = build_dcn({"a": 2, "b": 2}, embedding_dim=4, deep_hidden=[8], parallel=parallel)
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


def test_settings_of_no_use_are_refused() -> None:
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        build_dcn(SIZES, num_layers=0)
    with pytest.raises(ValueError, match="deep_hidden is empty"):
        build_dcn(SIZES, deep_hidden=[], parallel=True)
