from torchtowers.handlers.encoders import HashedTokenEncoder, TokenEncoder, UnifiedTokenEncoder, Vocabulary
from torchtowers.handlers.hashing import hash_of

TOKENS = [f"token {number}" for number in range(300)]


def test_unknown_tokens_are_divided_among_their_buckets() -> None:
    encoder = TokenEncoder(Vocabulary(["a", "b"]), 3)
    assert encoder.size == 6
    assert [encoder.encode_value(token, "city") for token in ("a", "b", None, "")] == [2, 3, 0, 0]
    indices = [encoder.encode_value(token, "city") for token in TOKENS]
    assert indices == [(1, 4, 5)[hash_of(token) % 3] for token in TOKENS]
    assert set(indices) == {1, 4, 5}


def test_a_vocabulary_of_one() -> None:
    encoder = TokenEncoder(Vocabulary(["a"]))
    assert encoder.encode(["a", "b", None]).tolist() == [2, 1, 0]
    assert encoder.size == 3


def test_hashed_tokens_use_every_bucket_and_integers_are_their_text() -> None:
    encoder = HashedTokenEncoder(7)
    assert {encoder.encode_value(token, "city") for token in TOKENS} == set(range(1, 8))
    assert encoder.encode_value(7, "city") == encoder.encode_value("7", "city") == 1 + hash_of("7") % 7
    assert encoder.encode([None, ""]).tolist() == [0, 0]
    assert encoder.size == 8


def test_fingerprints_of_features_differ() -> None:
    device, browser = UnifiedTokenEncoder(10, 2, "device"), UnifiedTokenEncoder(10, 2, "browser")
    prints = device.encode(TOKENS)
    assert len(set(prints.tolist())) == len(TOKENS)
    assert (prints > 0).all()
    assert (prints < 2**31 - 1).all()
    assert (prints != browser.encode(TOKENS)).all()
    assert device.encode([None, ""]).tolist() == [0, 0]
