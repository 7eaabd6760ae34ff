import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchtowers.models.calibration_curve import calibration_curve
from torchtowers.models.errors import TrainingError
from torchtowers.models.ranking_evaluation import evaluate_ranking

USERS = np.array([5, 5, 5, 2, 2])


def test_ratings_by_hand() -> None:
    figures = evaluate_ranking(
        np.array([3.0, 4.0, 1.0, 2.0, 2.0]),
        np.array([4.0, 4.0, 1.0, 5.0, 1.0]),
        USERS,
        scale="rating",
        ranking_at=(1, 2),
    )
    assert figures["rmse"] == pytest.approx(np.sqrt((1 + 0 + 0 + 9 + 1) / 5))
    assert figures["mae"] == pytest.approx((1 + 0 + 0 + 3 + 1) / 5)
    assert figures["calibration"] == pytest.approx(12 / 15)
    # User 5 has a best one first; user 2's are tied, and stay in their order, which is the best.
    assert figures["ndcg@1"] == 1
    assert list(figures) == ["rmse", "mae", "calibration", "ndcg@1", "ndcg@2"]


def test_ndcg_is_a_mean_over_users_whose_labels_differ() -> None:
    users = np.array([1, 1, 2, 2, 3, 4])
    predictions, labels = np.array([0.9, 0.1, 0.2, 0.8, 0.5, 0.5]), np.array([1, 0, 1, 0, 1, 0])
    figures = evaluate_ranking(predictions, labels, users, scale="order", ranking_at=(2,))
    # User 1's order is right, user 2's wrong; users 3 and 4 have one label each.
    assert figures["ndcg@2"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert figures["per_user_auc"] == pytest.approx(1 / 2)
    same = evaluate_ranking(predictions, 1.0 + labels, users, scale="rating", ranking_at=(2,))
    assert 0 < same["ndcg@2"] < 1


def test_clicks_by_hand() -> None:
    predictions, labels = np.array([0.9, 0.4, 0.2, 0.3, 0.6]), np.array([1, 0, 0, 0, 1])
    figures = evaluate_ranking(predictions, labels, USERS, scale="probability")
    assert figures["auc"] == figures["per_user_auc"] == 1
    loss = -np.mean(np.log([0.9, 0.6, 0.8, 0.7, 0.6]))
    entropy = -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))
    assert figures["normalized_entropy"] == pytest.approx(loss / entropy, rel=1e-5)
    assert figures["calibration"] == pytest.approx(2.4 / 2)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_auc_equals_the_share_of_pairs_in_order(seed: int) -> None:
    generator = np.random.default_rng(seed)
    predictions, labels = generator.integers(0, 4, 20) / 4, generator.integers(0, 2, 20)
    labels[:2] = 0, 1
    high, low = predictions[labels == 1][:, None], predictions[labels == 0]
    figures = evaluate_ranking(predictions, labels, generator.integers(0, 3, 20), scale="order")
    assert figures["auc"] == pytest.approx(((high > low) + 0.5 * (high == low)).mean(), abs=1e-6)


def test_what_labels_do_not_define_is_left_out() -> None:
    ones = evaluate_ranking(np.array([0.5, 0.6]), np.array([1, 1]), np.array([0, 0]), scale="probability")
    assert set(ones) == {"calibration"}
    graded = evaluate_ranking(np.array([0.5, 0.6]), np.array([1, 3]), np.array([0, 0]), scale="order")
    assert set(graded) == {"ndcg@10"}


def test_labels_beyond_ten_are_gains_themselves() -> None:
    figures = evaluate_ranking(
        np.array([1.0, 2.0]), np.array([300.0, 150.0]), np.array([0, 0]), scale="rating", ranking_at=(1,)
    )
    assert figures["ndcg@1"] == pytest.approx(150 / 300)


def test_labels_below_zero_are_ordered_too() -> None:
    figures = evaluate_ranking(
        np.array([1.0, 2.0]), np.array([-1.0, 1.0]), np.array([0, 0]), scale="rating", ranking_at=(1,)
    )
    assert figures["ndcg@1"] == 1


def test_many_users_of_different_numbers() -> None:
    generator = np.random.default_rng(0)
    users = generator.integers(0, 9000, 30_000)
    labels = generator.integers(1, 6, 30_000).astype(np.float32)
    assert evaluate_ranking(labels, labels, users, scale="rating")["ndcg@10"] == pytest.approx(1)


def test_nothing_to_measure_and_predictions_that_are_none() -> None:
    with pytest.raises(TrainingError, match="no interactions"):
        evaluate_ranking(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), scale="rating")
    with pytest.raises(TrainingError, match="not finite"):
        evaluate_ranking(np.array([np.nan]), np.ones(1), np.zeros(1, dtype=np.int64), scale="rating")


def test_a_calibration_curve_has_bins_of_the_same_size() -> None:
    predictions = np.random.default_rng(0).permutation(1000) / 1000
    curve = calibration_curve(predictions, predictions**2)
    assert [entry["count"] for entry in curve] == [100] * 10
    assert curve[0]["predicted"] == pytest.approx(0.0495)
    assert all(entry["observed"] < entry["predicted"] for entry in curve)


def test_equal_predictions_are_in_one_bin() -> None:
    curve = calibration_curve(np.full(50, 0.25), np.arange(50) % 2)
    assert curve == [{"predicted": 0.25, "observed": 0.5, "count": 50}]
