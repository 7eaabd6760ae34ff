from typing import Any

import pytest
import torch
from torch import nn

from torchtowers.handlers.encoders import (
    NumberEncoder,
    TokenEncoder,
    TokenListEncoder,
    UnifiedTokenEncoder,
    Vocabulary,
    WeightedListEncoder,
)
from torchtowers.models.feature_embedding import build_feature_embedding, share_tables

ITEMS = Vocabulary(["a", "b", "c"])


def test_weights_weigh_the_rows() -> None:
    embed: Any = build_feature_embedding(WeightedListEncoder(ITEMS, 4), "tastes", 2)
    rows = embed.table.weight.detach()
    features = {
        "tastes": torch.tensor([[2, 3, 0], [4, 0, 0], [0, 0, 0], [2, 3, 0]]),
        "tastes.weight": torch.tensor([[1.0, -3, 9], [5, 0, 0], [0, 0, 0], [0, 0, 0]]),
    }
    expected = torch.stack([rows[2] / 4 - rows[3] * 3 / 4, rows[4], torch.zeros(2), torch.zeros(2)])
    for mode in (True, False):
        torch.testing.assert_close(embed.train(mode)(features), expected)
    large = {**features, "tastes.weight": features["tastes.weight"] * 1e30}
    torch.testing.assert_close(embed(large), expected)


def test_dropout_leaves_out_tokens_and_lists_in_training_only() -> None:
    embed = build_feature_embedding(WeightedListEncoder(ITEMS, 4), "tastes", 2, list_dropout=1.0)
    features = {"tastes": torch.tensor([[2, 3]]), "tastes.weight": torch.ones(1, 2)}
    assert not embed(features).any()
    assert embed.eval()(features).all()


@pytest.mark.parametrize("dim", [1, 5, 8])
def test_unified_features_have_the_asked_width_and_share_a_table(dim: int) -> None:
    embeddings: dict[str, Any] = {
        name: build_feature_embedding(UnifiedTokenEncoder(50, 2, name), name, dim)
        for name in ("city", "device")
    }
    share_tables(embeddings, {})
    features = {"city": torch.tensor([5, 0]), "device": torch.tensor([5, 6])}
    assert embeddings["city"](features).shape == (2, dim)
    assert not embeddings["city"](features)[1].any()
    tables = {id(module.table.table.weight) for module in embeddings.values()}
    assert len(tables) == 1
    assert len(list(nn.ModuleDict(embeddings).parameters())) == 1


def test_unified_features_of_different_sizes_can_not_share() -> None:
    embeddings: dict[str, Any] = {
        name: build_feature_embedding(UnifiedTokenEncoder(buckets, 2, name), name, 4)
        for name, buckets in (("city", 50), ("device", 60))
    }
    with pytest.raises(ValueError, match=r"device and city can't share a table, .* same buckets and hashes"):
        share_tables(embeddings, {})


def test_a_shared_table_learns_from_both() -> None:
    embeddings: dict[str, Any] = {
        "item": build_feature_embedding(TokenEncoder(ITEMS), "item", 2),
        "history": build_feature_embedding(TokenListEncoder(ITEMS, 4), "history", 2),
    }
    share_tables(embeddings, {"history": "item"})
    features = {"item": torch.tensor([2]), "history": torch.tensor([[3, 0]])}
    sum(module(features).sum() for module in embeddings.values()).backward()
    gradient = embeddings["item"].table.weight.grad.to_dense()
    assert gradient[:, 0].tolist() == [0, 0, 1, 1, 0]


def test_what_can_not_be_shared_is_refused() -> None:
    embeddings: dict[str, Any] = {
        "item": build_feature_embedding(TokenEncoder(ITEMS), "item", 2),
        "city": build_feature_embedding(TokenEncoder(Vocabulary(["x"])), "city", 2),
        "age": build_feature_embedding(NumberEncoder("log", 0.0, 1.0), "age", 2),
    }
    for share, said in (
        ({"city": "item"}, "city and item can't share a table"),
        ({"city": "age"}, "has no table that could be shared"),
        ({"city": "nothing"}, "city shares the table of nothing, which is no feature of this model"),
    ):
        with pytest.raises(ValueError, match=said):
            share_tables(embeddings, share)
