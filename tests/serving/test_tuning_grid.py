import pytest

from torchtowers.serving.errors import ServingError
from torchtowers.serving.tuning_grid import Setting, grid

PRESENT = Setting(batch_size=32, delay=1, workers=1, threads=1)


def some(present: Setting = PRESENT, **changed: list[int] | int) -> list[Setting]:
    values = {
        "batch_sizes": [1, 8],
        "delays": [1, 2],
        "workers": [1],
        "threads": [1],
        "clients": 64,
        "cores": 2,
        **changed,
    }
    return grid(present, **values)  # type: ignore[arg-type]


def test_the_present_setting_comes_first_and_a_batch_of_one_has_no_delay() -> None:
    assert some() == [PRESENT, Setting(1, 1, 1, 1), Setting(8, 1, 1, 1), Setting(8, 2, 1, 1)]


def test_the_present_setting_is_not_measured_twice() -> None:
    assert some(Setting(1, 50, 1, 1)) == [
        Setting(1, 50, 1, 1),
        Setting(8, 1, 1, 1),
        Setting(8, 2, 1, 1),
    ]
    assert some(batch_sizes=[32], delays=[1]) == [PRESENT]


def test_batches_that_never_fill_are_measured_once() -> None:
    found = some(batch_sizes=[8, 4, 16, 5], delays=[1], clients=4)
    assert found == [PRESENT, Setting(4, 1, 1, 1)]
    assert some(Setting(1, 1, 1, 1), batch_sizes=[16, 8, 4], delays=[1], clients=4) == [
        Setting(1, 1, 1, 1),
        Setting(4, 1, 1, 1),
        Setting(8, 1, 1, 1),
    ]


def test_threads_that_only_wait_for_one_another_are_left_out() -> None:
    found = some(batch_sizes=[8], delays=[1], workers=[2, 1, 3], threads=[2, 1])
    assert [(each.workers, each.threads) for each in found[1:]] == [(1, 1), (1, 2), (2, 1), (3, 1)]


def test_a_handler_that_is_not_ours_has_no_threads_to_tune() -> None:
    found = some(Setting(1, 100, 2, None), batch_sizes=[8], delays=[1], threads=[1, 2])
    assert found == [Setting(1, 100, 2, None), Setting(8, 1, 1, None)]


@pytest.mark.parametrize("name", ["batch_sizes", "delays", "workers", "threads"])
@pytest.mark.parametrize("values", [[1, 0], [-1], []])
def test_values_out_of_range(name: str, values: list[int]) -> None:
    with pytest.raises(ServingError, match=rf"^--{name.replace('_', '-')}: expected integers of at least 1"):
        some(PRESENT, **{name: values})


def test_a_delay_of_nothing_is_explained() -> None:
    with pytest.raises(ServingError, match="got 0 1: TorchServe takes a delay of 0 for 100 ms"):
        some(delays=[0, 1])
    with pytest.raises(ServingError, match=r"^--clients: .*, got 0$"):
        some(clients=0)


def test_a_setting_is_read_from_a_configuration_and_put_into_it() -> None:
    config = {"batchSize": 4, "minWorkers": 3, "deviceType": "cpu", "torchtowers": {"threads": 2, "max_k": 7}}
    assert Setting.of_config(config, workers=1, threads=1) == Setting(4, 100, 3, 2)
    assert Setting.of_config({}, workers=2, threads=None) == Setting(1, 100, 2, None)
    assert Setting.of_config({"maxBatchDelay": 0}, workers=1, threads=1).delay == 100
    changed = Setting(8, 5, 2, 1).applied(config)
    assert changed == {
        "batchSize": 8,
        "maxBatchDelay": 5,
        "minWorkers": 2,
        "maxWorkers": 2,
        "deviceType": "cpu",
        "torchtowers": {"threads": 1, "max_k": 7},
    }
    assert config["torchtowers"] == {"threads": 2, "max_k": 7}
    assert "torchtowers" not in Setting(8, 5, 2, None).applied({})
    with pytest.raises(ServingError, match="batchSize: expected a positive integer, got many"):
        Setting.of_config({"batchSize": "many"}, workers=1, threads=1)


def test_it_reads_like_a_sentence() -> None:
    assert str(Setting(32, 1, 2, 1)) == "batch 32, delay 1 ms, 2 workers, 1 thread"
    assert str(Setting(1, 1, 1, None)) == "batch 1, 1 worker"
