import numpy as np
import pytest

from torchtowers.export.comparison import BATCH_SIZES
from torchtowers.export.questions import encode_for_training, random_inputs, raw_rows
from torchtowers.handlers.encoders import MISSING, UNKNOWN
from torchtowers.models.experiment import Trained


@pytest.mark.parametrize("batch", BATCH_SIZES)
def test_inputs_hold_unknown_and_missing_values_and_lists_of_all_lengths(
    trained: Trained, batch: int
) -> None:
    for table in (trained.dataset.users, trained.dataset.items):
        inputs = random_inputs(table.encoders, batch, np.random.default_rng(0))
        assert list(inputs) == list(table.encoders)
        for name, encoder in table.encoders.items():
            values = inputs[name]
            assert values.dtype == np.int64
            assert values.min() >= 0
            assert values.max() < encoder.size
            if encoder.is_list:
                assert (values[-1] != MISSING).all()
                assert batch == 1 or not values[0].any()
            else:
                assert UNKNOWN in values
                assert batch == 1 or MISSING in values


def test_rows_are_known_and_unknown_users_with_sent_missing_and_unknown_values(trained: Trained) -> None:
    users = trained.dataset.users
    rows = raw_rows(trained.dataset.users, 64, k=5)
    alone = [row for row in rows if len(row.features) == 1]
    assert len({row.features["user_id"] for row in alone}) >= 10
    assert any(row.features["user_id"] in users.tokens and len(row.features) > 1 for row in rows)
    unknown = [row for row in rows if row.features["user_id"] not in users.tokens]
    expected: dict[str, list[object]] = {
        "gender": [None, "F"],
        "age": [None, -1e9, 1e9, 18],
        "history": [None, []],
    }
    for name, values in expected.items():
        for value in values:
            assert any(row.features.get(name, "absent") == value for row in unknown), (name, value)
    lengths = [len(row.features.get("history") or ()) for row in rows]  # type: ignore[arg-type]
    assert max(lengths) > 12  # longer than what the tower takes
    assert any("no such token" in str(row.features.get("gender")) for row in rows)
    assert any("no such token" in str(row.features.get("history")) for row in rows)


def test_known_user_alone_is_encoded_as_in_training(trained: Trained) -> None:
    users = trained.dataset.users
    rows = [row for row in raw_rows(trained.dataset.users, 64, k=5) if len(row.features) == 1]
    tokens = [str(row.features["user_id"]) for row in rows]
    stored = users.take(np.array([users.tokens.index(token) for token in tokens]))
    encoded = encode_for_training(trained.dataset.users, rows, lookup=True)
    for name, values in stored.items():
        np.testing.assert_array_equal(encoded[name], values)
    bare = encode_for_training(trained.dataset.users, rows, lookup=False)
    np.testing.assert_array_equal(bare["user_id"], stored["user_id"])
    assert not bare["age"].any()
    assert not bare["history"].any()
