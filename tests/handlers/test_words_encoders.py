import pytest

from torchtowers.handlers.encoders import HashedWordsEncoder
from torchtowers.handlers.errors import FieldError
from torchtowers.handlers.hashing import hash_of


def test_hashed_words() -> None:
    encoder = HashedWordsEncoder(11, 3)
    assert encoder.size == 12
    expected = [1 + hash_of(word) % 11 for word in ("the", "été", "in", "1984")]
    assert encoder.encode_value("The ÉTÉ -- in 1984", "title") == expected[:3]
    assert encoder.encode_value("été!", "title") == expected[1:2]
    assert encoder.encode_value(None, "title") == encoder.encode_value("  ", "title") == []
    with pytest.raises(FieldError, match="title: expected a string, got 5"):
        encoder.encode_value(5, "title")
