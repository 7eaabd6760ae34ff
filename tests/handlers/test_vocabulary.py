"""Tokens and their indices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handlers.small import examples, json_values
from torchtowers.handlers.errors import ArtifactError
from torchtowers.handlers.token_table import TokenTable
from torchtowers.handlers.vocabulary import UNKNOWN, Vocabulary, token_of


def test_known_tokens_begin_at_two() -> None:
    vocabulary = Vocabulary(["b", "a"])
    assert [vocabulary.index(token) for token in ("b", "a", "c")] == [2, 3, UNKNOWN]
    assert vocabulary.size == 4
    assert "a" in vocabulary
    assert "c" not in vocabulary


def test_refuses_repeated_tokens() -> None:
    with pytest.raises(ValueError, match="3 tokens has 2 distinct"):
        Vocabulary(["a", "b", "a"])


@pytest.mark.parametrize("token", [7, np.int64(7), None, b"a", ["a"]])
def test_refuses_a_token_that_is_no_string(token: Any) -> None:
    with pytest.raises(ValueError, match="tokens have to be strings, got "):
        Vocabulary(["a", token])


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("007", "007"),
        (7, "7"),
        (np.int64(7), "7"),
        ("", ""),
        (True, None),
        (7.0, None),
        (None, None),
        ([], None),
    ],
)
def test_tokens_are_strings_and_integers(value: object, token: str | None) -> None:
    assert token_of(value) == token


def test_an_integer_that_python_refuses_to_write_out_is_no_token() -> None:
    assert token_of(10**5000) is None


@examples(100)
@given(json_values)
def test_token_of_anything_is_a_string_or_none(value: object) -> None:
    assert token_of(value) is None or isinstance(value, str | int)


@examples(50)
@given(st.lists(st.text(), unique=True))
def test_comes_back_from_its_files(tmp_path_factory: pytest.TempPathFactory, tokens: list[str]) -> None:
    folder = tmp_path_factory.getbasetemp()
    made = Vocabulary(tokens)
    made.save(folder, "encoders/user_id")
    loaded = Vocabulary.load(folder, "encoders/user_id")
    for token in (*tokens, "", "other", "\ud800"):
        assert loaded.index(token) == made.index(token)
        assert (token in loaded) == (token in made)
    assert loaded.size == made.size
    assert loaded.tokens == tuple(tokens)


def test_a_table_is_a_vocabulary() -> None:
    assert Vocabulary(TokenTable.of(["b", "a"])).index("a") == 3


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.\w+\.npy in .* can't be read"):
        Vocabulary.load(tmp_path, "none")
