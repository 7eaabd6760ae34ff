import json
from pathlib import Path
from typing import Any

import pytest

from tests.every_kind import every_kind_config, every_kind_tables
from torchtowers.data.dataset import prepare
from torchtowers.data.errors import DataError
from torchtowers.data.fitted import Fitted


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    config = every_kind_config()
    return prepare(every_kind_tables(), config.data, config.split, config.features).fitted


def test_every_kind_of_encoder_comes_back_as_it_was(fitted: Fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "encoders.json")
    again = Fitted.load(tmp_path / "encoders.json")
    assert (again.users.tokens, again.items.tokens) == (fitted.users.tokens, fitted.items.tokens)
    assert list(again.encoders) == list(fitted.encoders)
    for name, encoder in fitted.encoders.items():
        other: Any = again.encoders[name]
        assert (type(other), other.to_json()) == (type(encoder), encoder.to_json()), name
        tokens = getattr(getattr(encoder, "vocabulary", None), "tokens", None)
        assert getattr(getattr(other, "vocabulary", None), "tokens", None) == tokens, name


def test_a_shared_vocabulary_is_written_once_and_shared_again(fitted: Fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "encoders.json")
    written = json.loads((tmp_path / "encoders.json").read_text(encoding="utf-8"))["vocabularies"]
    assert len(written) == len({tuple(tokens) for tokens in written}) == 5
    encoders: Any = Fitted.load(tmp_path / "encoders.json").encoders
    assert encoders["history"].vocabulary is encoders["item_id"].vocabulary
    assert encoders["main_genre"].vocabulary is encoders["genres"].vocabulary


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"users": 0, "items": 0, "encoders": {}, "vocabularies": []}',
        '{"users": 0, "items": 0, "encoders": {"a": {"kind": "token"}}, "vocabularies": [["a"]]}',
        '{"users": 0, "items": 0, "encoders": {"a": {"kind": "no"}}, "vocabularies": [["a"]]}',
        '{"users": 0, "items": 0, "encoders": {}, "vocabularies": [["a", "a"]]}',
        '{"users": 0, "items": 0, "encoders": [], "vocabularies": [["a"]]}',
    ],
)
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "encoders.json").write_text(text)
    with pytest.raises(DataError, match=r"encoders\.json is damaged .*: train the run again"):
        Fitted.load(tmp_path / "encoders.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"encoders\.json can't be read \(No such file"):
        Fitted.load(tmp_path / "encoders.json")
