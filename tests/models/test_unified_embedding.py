import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torchtowers.export.onnx import export_onnx
from torchtowers.export.torchscript import export_torchscript
from torchtowers.handlers.encoders import Encoder, TokenEncoder, TokenListEncoder, Vocabulary
from torchtowers.handlers.runtime import load_tower
from torchtowers.models.unified_embedding import UnifiedEmbedding

PRIME = 2**31 - 1


def row_of(embed: UnifiedEmbedding, index: int, chunk: int) -> Tensor:
    """The polynomial in Python's own integers, which don't overflow."""
    a, b, c, d = (int(value) for value in embed.coefficients[:, chunk])
    x = index % PRIME
    hashed = (((a * x + b) * x + c) * x + d) % PRIME
    return embed.table.weight[int(embed.offsets[chunk]) + hashed % embed.buckets]


def test_each_chunk_is_the_row_that_its_own_hash_names() -> None:
    embed = UnifiedEmbedding({"a": 3, "b": 2}, buckets=50, dim=2, tables=2)
    indices = [7, -7, 2**31 - 2, 2**31, 2**62 + 12345]
    for parts in (
        embed({"a": torch.tensor(indices), "b": torch.tensor(indices)}),
        [torch.cat(rows) for rows in zip(*(alone(embed, index) for index in indices), strict=True)],
    ):
        for row, index in enumerate(indices):
            torch.testing.assert_close(parts[0][row], torch.cat([row_of(embed, index, c) for c in (0, 1, 2)]))
            torch.testing.assert_close(parts[1][row], torch.cat([row_of(embed, index, c) for c in (3, 4)]))


def alone(embed: UnifiedEmbedding, index: int) -> list[Tensor]:
    outputs: list[Tensor] = embed({"a": torch.tensor([index]), "b": torch.tensor([index])})
    return outputs


def test_outputs_have_the_order_and_the_widths_of_the_features() -> None:
    # More than ten chunks of more than ten features, which TFRS puts into alphabetical order.
    chunks = {f"feature_{12 - number}": 11 + number for number in range(12)}
    embed = UnifiedEmbedding(chunks, buckets=1000, dim=1)
    outputs = embed({name: torch.tensor([5]) for name in sorted(chunks)})
    assert [part.shape for part in outputs] == [(1, width) for width in chunks.values()]
    chunk = 0
    for part in outputs:
        for column in range(part.size(1)):
            assert part[0, column] == row_of(embed, 5, chunk)
            chunk += 1


def test_chunks_go_to_the_tables_in_turn() -> None:
    embed = UnifiedEmbedding({"a": 2, "b": 3}, buckets=10, dim=1, tables=2)
    assert embed.offsets.tolist() == [1, 11, 1, 11, 1]
    assert embed.table.weight.shape == (21, 1)
    assert np.unique(embed.coefficients.numpy(), axis=1).shape[1] == 5


@pytest.mark.parametrize(("pooling", "divisor"), [("sum", 1.0), ("mean", 3.0), ("sqrtn", 3.0**0.5)])
def test_lists_are_pooled_without_their_padding(pooling: str, divisor: float) -> None:
    embed = UnifiedEmbedding({"id": 2, "genres": 2}, buckets=50, dim=3, pooling=pooling)  # type: ignore[arg-type]
    lists = torch.tensor([[4, 0, 9, 4], [0, 0, 0, 0]])
    single, pooled = embed({"id": torch.tensor([4, 0]), "genres": lists})
    rows = {index: torch.cat([row_of(embed, index, chunk) for chunk in (2, 3)]) for index in (4, 9)}
    torch.testing.assert_close(pooled[0], (2 * rows[4] + rows[9]) / divisor)
    assert pooled[1].tolist() == [0.0] * 6
    assert single[1].tolist() == [0.0] * 6
    longer = embed({"id": torch.tensor([4, 0]), "genres": torch.nn.functional.pad(lists, (2, 1))})
    torch.testing.assert_close(longer[1], pooled)


def test_padding_and_missing_values_get_no_gradient() -> None:
    embed = UnifiedEmbedding({"id": 1, "genres": 2}, buckets=50, dim=2)
    outputs = embed({"id": torch.tensor([0, 3]), "genres": torch.tensor([[0, 5], [0, 0]])})
    torch.cat(outputs, dim=1).sum().backward()  # type: ignore[no-untyped-call]
    gradient = embed.table.weight.grad
    assert gradient is not None
    assert gradient.is_sparse
    assert gradient._nnz() == 1 + 2
    assert (embed.table.weight[0] == 0).all()


# Ascending, even, of one residue modulo a power of two, and large.
KEYS = {
    "ascending": torch.arange(2, 20_002),
    "even": torch.arange(2, 20_002) * 2,
    "low_bits_constant": torch.arange(2, 20_002) << 20,
    "wide": torch.from_numpy(np.random.default_rng(0).integers(2, 2**62, 20_000)),
}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("buckets", [128, 1000, 30_011])
def test_hashes_spread_as_a_random_function_does(keys: str, buckets: int) -> None:
    chunks = 10
    embed = UnifiedEmbedding({"a": chunks}, buckets=buckets, dim=1)
    embed.table.weight.data = torch.arange(1.0 + buckets).view(-1, 1)  # a row tells its number
    (numbers,) = embed({"a": KEYS[keys]})
    rows = numbers.long() - 1
    expected = len(rows) / buckets
    scores = []
    for chunk in range(chunks):
        counts = torch.bincount(rows[:, chunk], minlength=buckets)
        assert len(counts) == buckets
        chi_square = ((counts - expected) ** 2 / expected).sum().item()
        scores.append((chi_square - (buckets - 1)) / (2 * (buckets - 1)) ** 0.5)
    # Of a random function each is about normal with deviation 1.
    assert max(map(abs, scores)) < 4
    assert abs(sum(scores) / chunks) < 1.3
    # Two chunks together collide as two independent hashes do.
    cells = buckets * buckets
    pairs = len(rows) * (len(rows) - 1) / 2 / cells
    _, counted = np.unique((rows[:, 0] * buckets + rows[:, 1]).numpy(), return_counts=True)
    collisions = (counted * (counted - 1) // 2).sum()
    assert abs(collisions - pairs) < 4 * pairs**0.5 + 1


def test_features_added_at_the_end_leave_the_others_hashes_alone() -> None:
    before = UnifiedEmbedding({"a": 2, "b": 3}, buckets=10, dim=2, tables=2)
    after = UnifiedEmbedding({"a": 2, "b": 3, "c": 1}, buckets=10, dim=2, tables=2)
    assert torch.equal(after.coefficients[:, :5], before.coefficients)
    after.load_state_dict(before.state_dict())
    features = {name: torch.tensor([5, 0, 9]) for name in "abc"}
    for one, other in zip(before(features), after(features), strict=False):
        assert torch.equal(one, other)


def test_salts_are_the_same_for_ever() -> None:
    embed = UnifiedEmbedding({"a": 2, "b": 1}, buckets=10, dim=1)
    digest = hashlib.sha256(b"1 0").digest()
    first = int.from_bytes(digest[:8], "little") % (PRIME - 1) + 1
    last = int.from_bytes(digest[24:], "little") % PRIME
    assert embed.coefficients[[0, 3], 2].tolist() == [first, last]
    # A saved table has the rows of this number.
    assert first == 1_659_614_290


@pytest.mark.parametrize(
    ("features", "settings", "message"),
    [
        ({}, {}, "features is empty"),
        ({"a": 0}, {}, "feature 'a' must have 1 chunk at least, got 0"),
        ({"a": 1}, {"tables": 0}, "at least 1, got 10, 2 and 0"),
        ({"a": 1}, {"buckets": 2**31}, "buckets must be below"),
        ({"a": 1}, {"pooling": "max"}, "pooling must be one of mean, sum, sqrtn, got 'max'"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    features: dict[str, int], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        UnifiedEmbedding(features, **{"buckets": 10, "dim": 2, **settings})  # type: ignore[arg-type]


class Concatenated(nn.Module):
    """A tower of the layer alone."""

    def __init__(self, embed: UnifiedEmbedding) -> None:
        super().__init__()
        self.embed = embed

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return torch.cat(self.embed(features), dim=1)


def test_exported_hashes_are_equal_to_eager_at_every_batch_and_length(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["a"])
    encoders: dict[str, Encoder] = {
        "user_id": TokenEncoder(vocabulary),
        "genres": TokenListEncoder(vocabulary, 9),
        "age": TokenEncoder(vocabulary),
        "words": TokenListEncoder(vocabulary, 9),
    }
    chunks = {"user_id": 3, "genres": 1, "age": 12, "words": 2}
    tower = Concatenated(UnifiedEmbedding(chunks, buckets=100, dim=4, tables=2, pooling="sqrtn")).eval()
    export_onnx(tower, encoders, tmp_path / "tower.onnx")
    export_torchscript(tower, tmp_path / "tower.pt")
    exported = [load_tower("onnx", tmp_path / "tower.onnx"), load_tower("torchscript", tmp_path / "tower.pt")]
    generator = np.random.default_rng(0)
    for batch, length in ((1, 1), (1, 4), (2, 1), (7, 3)):
        inputs = {
            # Negative and large numbers, since a raw id may be any integer.
            name: generator.integers(-(2**62), 2**62, (batch, length) if encoder.is_list else batch)
            for name, encoder in encoders.items()
        }
        inputs["words"] *= generator.random((batch, length)) < 0.5
        with torch.inference_mode():
            expected = tower({name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
        assert expected.shape == (batch, 18 * 4)
        for run in exported:
            for _ in range(3):
                np.testing.assert_allclose(run(inputs), expected, rtol=1e-6, atol=1e-7)
