"""Features of every kind that a fused file can hold, for its tests."""

from tests.every_kind import ITEM_FEATURES, USER_FEATURES

_TEXT = ("hashed_token", "unified_token")

FUSABLE: dict[str, object] = {
    "user": {
        **{name: spec for name, spec in USER_FEATURES.items() if spec["kind"] not in _TEXT},  # type: ignore[index]
        "user_id": {"kind": "token"},
        "city": {"kind": "token", "min_count": 2},
    },
    "item": ITEM_FEATURES,
}
