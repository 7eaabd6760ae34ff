"""A ranking model over all features, and what its losses and interactions ask for."""

import numpy as np
import pytest
import torch
from torch import nn

from torchtowers.data.ranking_batch import RankingBatch
from torchtowers.handlers.encoders import BucketEncoder, Encoder, TokenEncoder, TokenListEncoder, Vocabulary
from torchtowers.models.listwise_losses import ListMLELoss
from torchtowers.models.pairwise_losses import PairwiseLogisticLoss
from torchtowers.models.pointwise_losses import BinaryCrossentropy, MeanSquaredError
from torchtowers.models.ranker import Ranker, build_ranker
from torchtowers.models.rated_clicks import RatedClickLoss

ENCODERS: dict[str, Encoder] = {
    "user": TokenEncoder(Vocabulary("abcd")),
    "item": TokenEncoder(Vocabulary("uvwxyz")),
    "age": BucketEncoder([18, 30]),
    "genres": TokenListEncoder(Vocabulary("fgh"), 2),
}


def features(batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randint(0, encoder.size, (batch, 2) if encoder.is_list else (batch,), generator=generator)
        for name, encoder in ENCODERS.items()
    }


def ranker(loss: nn.Module | None = None, **settings: object) -> Ranker:
    torch.manual_seed(0)
    return build_ranker(ENCODERS, loss=loss or MeanSquaredError(), embedding_dim=4, hidden=[8], **settings)  # type: ignore[arg-type]


def silent(model: Ranker) -> Ranker:
    """Let the layers say nothing, so that the biases stand alone."""
    for parameter in model.top.parameters():
        nn.init.zeros_(parameter)
    return model


def test_predicts_the_offset_where_nothing_is_learnt() -> None:
    model = silent(ranker(offset=3.5)).eval()
    torch.testing.assert_close(model(features(5)), torch.full((5,), 3.5))


def test_adds_the_biases_of_its_features_and_of_their_crosses() -> None:
    model = silent(ranker(offset=1.0, crosses=[("user", "age")])).eval()
    given = features(6)
    with torch.no_grad():
        for table in model.biases.parameters():
            table.copy_(torch.arange(len(table))[:, None].float())
            table[0] = 0  # what is missing says nothing
    genres = given["genres"].float()
    lengths = (given["genres"] > 0).sum(dim=1).clamp(min=1).sqrt()
    expected = 1.0 + given["user"] + given["item"] + given["age"] + genres.sum(dim=1) / lengths
    cross = 1 + given["user"] * ENCODERS["age"].size + given["age"]
    torch.testing.assert_close(model(given), expected + cross)


def test_gives_a_probability_where_it_learns_clicks_and_a_score_elsewhere() -> None:
    given = features(7)
    clicks = ranker(BinaryCrossentropy(from_logits=True), offset=0.3).eval()
    torch.testing.assert_close(clicks(given), torch.sigmoid(clicks.score(given)))
    for loss in (MeanSquaredError(), ListMLELoss(), PairwiseLogisticLoss()):
        model = ranker(loss).eval()
        torch.testing.assert_close(model(given), model.score(given))


def test_the_scale_is_of_all_but_the_offset() -> None:
    given = features(5)
    plain, scaled = ranker(offset=2.0).eval(), ranker(offset=3.0, scale=10.0).eval()
    torch.testing.assert_close(scaled(given), (plain(given) - 2.0) * 10 + 3.0)


def test_dropout_is_of_embeddings_and_hidden_layers_in_training_only() -> None:
    model, given = ranker(dropout=0.5), features(200)
    torch.testing.assert_close(model.eval()(given), ranker().eval()(given))
    hidden: list[torch.Tensor] = []
    last = [module for module in model.top.modules() if isinstance(module, nn.Linear)][-1]
    last.register_forward_pre_hook(lambda _, given: hidden.append(given[0]))
    model.train()(given)
    model.eval()(given)
    zeros = [(tensor == 0).float().mean().item() for tensor in hidden]
    assert zeros[0] > zeros[1] + 0.1


def test_clicks_of_ratings_are_learnt_with_the_ratings() -> None:
    loss = RatedClickLoss(4, deviation=1.5, share=0.6)
    model, given = ranker(loss, offset=3.0, scale=1.5).eval(), features(9)
    ratings = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1], dtype=np.float32)
    batch = RankingBatch({name: tensor.numpy() for name, tensor in given.items()}, ratings)
    score, said = model.score(given), model(given)
    expected = np.log(0.6 / 0.4) + (score - 3.0) / 1.5
    torch.testing.assert_close(said, torch.sigmoid(expected))
    clicks = torch.from_numpy((ratings >= 4).astype(np.float32))
    entropy = nn.functional.binary_cross_entropy(said, clicks)
    error = (score - torch.from_numpy(ratings)).square().mean() / 1.5**2
    torch.testing.assert_close(model.compute_loss(batch), error + entropy)
    model.compute_loss(batch).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.link.parameters())


@pytest.mark.parametrize("interaction", ["dcn", "dlrm", "wide_and_deep"])
def test_an_interaction_learns(interaction: str) -> None:
    """A label that depends on user and item together is learnt by each of them."""
    model, given = ranker(interaction=interaction), features(64)
    labels = ((given["user"] + given["item"]) % 2).float()
    batch = RankingBatch({name: tensor.numpy() for name, tensor in given.items()}, labels.numpy())
    optimizer = torch.optim.SparseAdam(
        [p for m in model.modules() if getattr(m, "sparse", False) for p in m.parameters()], lr=0.05
    )
    dense = torch.optim.Adam([*model.top.parameters(), *model.interaction.parameters()], lr=0.05)
    first = model.compute_loss(batch).item()
    for _ in range(150):
        optimizer.zero_grad()
        dense.zero_grad()
        model.compute_loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()  # type: ignore[no-untyped-call]
        dense.step()
    assert model.compute_loss(batch).item() < 0.1 * first


@pytest.mark.parametrize("loss", [ListMLELoss(), PairwiseLogisticLoss()])
def test_a_loss_over_lists_gets_the_scores_as_lists(loss: nn.Module) -> None:
    model, given = ranker(loss).eval(), features(12)
    labels = np.random.default_rng(0).integers(0, 3, (3, 4)).astype(np.float32)
    mask = np.arange(4) < np.array([[4], [2], [3]])
    arrays = {name: tensor.numpy() for name, tensor in given.items()}
    expected = loss(model.score(given).view(3, 4), torch.from_numpy(labels), torch.from_numpy(mask))
    torch.testing.assert_close(model.compute_loss(RankingBatch(arrays, labels, mask=mask)), expected)
    # What is masked says nothing.
    changed = {name: array.copy() for name, array in arrays.items()}
    changed["item"][[6, 7]] = 3
    torch.testing.assert_close(model.compute_loss(RankingBatch(changed, labels, mask=mask)), expected)


def test_refuses_probabilities_and_a_product_of_one_feature() -> None:
    with pytest.raises(ValueError, match=r"BinaryCrossentropy\(from_logits=True\)"):
        ranker(BinaryCrossentropy())
    with pytest.raises(ValueError, match="a dot product needs two features, got only user"):
        build_ranker({"user": ENCODERS["user"]}, loss=MeanSquaredError(), interaction="dlrm")
