import hashlib

import pytest

from torchtowers.handlers.hashing import hash_of


@pytest.mark.parametrize(
    ("token", "salt", "text"),
    [("a", "", b"a"), ("été", "", "été".encode()), ("", "", b""), ("a", "city", b"city\0a")],
)
def test_is_blake2b_of_eight_bytes(token: str, salt: str, text: bytes) -> None:
    expected = hashlib.blake2b(text, digest_size=8).digest()
    assert hash_of(token, salt) == int.from_bytes(expected, "little")


def test_stays_what_it_was() -> None:
    assert (hash_of("196"), hash_of("196", "user_id")) == (16853603409973458658, 17661370427514222140)


def test_takes_a_lone_surrogate() -> None:
    assert hash_of("\ud800") != hash_of("\ud801")
