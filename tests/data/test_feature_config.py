import pytest
from pydantic import ValidationError

from torchtowers.data.feature_config import FeaturesConfig

TOKEN = {"kind": "token"}


@pytest.mark.parametrize(
    ("user", "item", "said"),
    [
        ({"h": {"kind": "history", "share": "item"}}, {"other": TOKEN}, "h can't share the table of item"),
        (
            {"a": {"kind": "token", "share": "b"}, "b": {"kind": "token", "share": "c"}, "c": TOKEN},
            {},
            "a can't share the table of b",
        ),
        ({"a": {"kind": "token", "share": "b"}, "b": {"kind": "number"}}, {}, "a can't share the table of b"),
        (
            {"a": {"kind": "token", "share": "b", "min_count": 2}, "b": TOKEN},
            {},
            "those of the feature that share",
        ),
        ({"a": {"kind": "words", "min_count": 2}}, {}, "set vocabulary: true"),
        (
            {"a": {"kind": "words", "vocabulary": True, "hash_buckets": 9}},
            {},
            "either a vocabulary or hash_buckets",
        ),
        ({"a": TOKEN}, {"a": TOKEN}, "a is a feature of user and of item, .* rename the column"),
        ({"a.b": TOKEN}, {}, "can't be called 'a.b'"),
        ({"a": {"kind": "hashed_token"}}, {}, "buckets"),
        ({"a": {"kind": "unified_token", "buckets": 9, "hashes": 17}}, {}, "hashes"),
    ],
)
def test_what_does_not_fit_is_refused(user: dict[str, object], item: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FeaturesConfig(user=user, item=item)  # type: ignore[arg-type]


def test_a_history_is_none_of_the_context() -> None:
    history = {"h": {"kind": "history"}}
    assert FeaturesConfig.model_validate({"user": {}, "item": history}).item
    with pytest.raises(ValidationError, match="a history is a feature of the user or of the item"):
        FeaturesConfig.model_validate({"user": {}, "item": {}, "context": history})


def test_tells_which_features_share_a_table() -> None:
    features = FeaturesConfig.model_validate(
        {
            "user": {"h": {"kind": "history", "share": "i"}},
            "item": {"i": TOKEN, "j": {"kind": "token", "share": "i"}},
        }
    )
    assert features.share == {"h": "i", "j": "i"}
