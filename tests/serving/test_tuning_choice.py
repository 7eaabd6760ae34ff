from typing import Any

import numpy as np
import pytest

from torchtowers.serving.load import LoadResult
from torchtowers.serving.tuning_choice import Point, choose, finalists, most_latency
from torchtowers.serving.tuning_grid import Setting


def point(rate: float, single: float, workers: int = 1, threads: int = 1, **more: Any) -> Point:
    return Point(Setting(8, 1, workers, threads), rate, 5.0, 9.0, single, **more)


def result(clients: int, milliseconds: list[float], **changed: Any) -> LoadResult:
    values: dict[str, Any] = {
        "name": "m",
        "clients": clients,
        "seconds": 2.0,
        "protocol": "REST",
        "milliseconds": np.array(milliseconds, np.float32),
        "finished": np.zeros(len(milliseconds)),
        "errors": {},
        "checked": len(milliseconds),
        "wrong": 0,
        "first_wrong": None,
    }
    return LoadResult(**{**values, **changed})


def test_the_highest_throughput_that_is_quick_enough() -> None:
    points = [point(1000, 1.0), point(3000, 3.0), point(9000, 3.1)]
    assert choose(points, 3.0) is points[1]
    assert choose(points, 3.1) is points[2]
    assert choose(points, 0.5) is None
    assert choose([], 3.0) is None


def test_what_is_nearly_as_good_with_fewer_workers_and_threads_is_taken() -> None:
    points = [
        point(1000, 1.0, workers=2, threads=1),
        point(960, 1.0, workers=1, threads=2),
        point(955, 1.0, workers=1, threads=1),
        point(951, 0.9, workers=1, threads=1),
        point(940, 0.1, workers=1, threads=1),
    ]
    assert choose(points, 2.0) is points[3]
    assert choose(points[:2], 2.0) is points[1]


def test_what_failed_is_never_taken() -> None:
    points = [point(9000, 0.1, failure="12 x 503"), point(10, 1.0)]
    assert choose(points, 5.0) is points[1]
    assert choose(points[:1], 5.0) is None
    assert most_latency(points, None) == 3.0


def test_without_a_limit_half_as_long_again_or_2_ms_more() -> None:
    assert most_latency([point(1, 10.0), point(1, 30.0)], None) == 15.0
    assert most_latency([point(1, 1.0), point(1, 3.0)], None) == 3.0
    assert most_latency([point(1, 1.0)], 0.5) == 0.5
    assert most_latency([], None) == 2.0


def test_figures_of_one_client_and_of_many() -> None:
    setting = Setting(8, 1, 1, 1)
    found = Point.of(setting, result(1, [1.0, 2.0, 6.0]), result(64, [10.0, 20.0, 30.0, 40.0]))
    assert (found.requests_per_second, found.p50, found.single) == (2.0, 25.0, 2.0)
    assert found.p99 == pytest.approx(39.7)
    assert found.failure is None
    assert found.to_json()["single_p50_ms"] == 2.0


@pytest.mark.parametrize(
    ("single", "load", "failure"),
    [
        ({"errors": {"503 Full": 3}}, {}, "3 x 503 Full with 1 client"),
        ({}, {"errors": {"500 Dead": 1}}, "1 x 500 Dead with 64 clients"),
        ({}, {"wrong": 2, "first_wrong": "w"}, "2 of 1 answers are wrong with 64 clients: w"),
        ({}, {"milliseconds": []}, "no answer in 2 s with 64 clients"),
    ],
)
def test_errors_and_wrong_answers_are_failures(
    single: dict[str, Any], load: dict[str, Any], failure: str
) -> None:
    found = Point.of(
        Setting(8, 1, 1, 1),
        result(1, **{"milliseconds": [1.0], **single}),
        result(64, **{"milliseconds": [1.0], **load}),
    )
    assert found.failure == failure
    assert found.to_json() == {**vars(found.setting), "failure": failure}


def test_of_two_rounds_the_better_figures_count() -> None:
    rounds = [point(1000, 2.0), point(2000, 3.0)]
    assert Point.best(rounds) == point(2000, 2.0)
    failed = point(9000, 0.1, failure="12 x 503")
    assert Point.best([*rounds, failed]) is failed


def test_the_present_setting_and_the_best_are_measured_again() -> None:
    present = point(10, 9.0, workers=9)
    others = [point(rate, 1.0, workers=rate) for rate in (2, 5, 3, 4)]
    late, failed = point(99, 5.0, workers=8), point(99, 1.0, workers=7, failure="503")
    again = finalists([present, *others, late, failed], 4.0)
    assert [setting.workers for setting in again] == [9, 5, 4, 3]
    assert finalists([present], 4.0) == [present.setting]
    assert finalists([failed, others[0]], 4.0) == [others[0].setting]
