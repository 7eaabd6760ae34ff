import dataclasses
from typing import Any

import pytest
import yaml

from torchtowers.export.errors import ExportError
from torchtowers.export.model_config import ServingConfig
from torchtowers.handlers.limits import Limits

# TorchServe's ServingConfig.java; a key that is not among them is passed over without a word.
TORCHSERVE_KEYS = {
    *("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout"),
    *("deviceType", "deviceIds", "parallelType", "parallelLevel", "torchrun", "maxRetryTimeoutInSec"),
    *("clientTimeoutInMills", "jobQueueSize", "useJobTicket", "sequenceMaxIdleMSec", "sequenceTimeoutMSec"),
    *("maxSequenceJobQueueSize", "maxNumSequence", "continuousBatching", "sequenceBatching"),
    *("asyncCommunication", "useVenv"),
}


def test_every_key_is_one_that_torchserve_knows_or_the_handlers_own() -> None:
    content = yaml.safe_load(ServingConfig().to_yaml())
    assert set(content) - TORCHSERVE_KEYS == {"torchtowers"}


def test_values_are_written_as_the_types_that_torchserve_takes() -> None:
    config = ServingConfig(workers=3, batch_size=8, max_batch_delay=2, device="gpu", max_k=50, threads=2)
    content = yaml.safe_load(config.to_yaml())
    limits = {name: value for name, value in vars(Limits(max_k=50)).items() if name != "default_k" and value}
    assert content.pop("torchtowers") == {"threads": 2, **limits}
    assert content == {
        "minWorkers": 3,
        "maxWorkers": 3,
        "batchSize": 8,
        "maxBatchDelay": 2,
        "responseTimeout": 120,
        "startupTimeout": 120,
        "jobQueueSize": 100,
        "clientTimeoutInMills": 0,
        "deviceType": "gpu",
    }
    assert {type(value) for name, value in content.items() if name != "deviceType"} == {int}


def test_handlers_read_their_limits_from_it() -> None:
    names = [field.name for field in dataclasses.fields(Limits) if field.name != "default_k"]
    given: dict[str, Any] = {name: number for number, name in enumerate(names, 3)}
    settings = yaml.safe_load(ServingConfig(**given).to_yaml())["torchtowers"]
    assert Limits.from_config(settings) == Limits(**given)


@pytest.mark.parametrize(
    "name", [field.name for field in dataclasses.fields(ServingConfig) if not field.name.startswith("device")]
)
@pytest.mark.parametrize("value", [-1, True, 1.5, "2"])
def test_what_torchserve_would_only_warn_of_is_refused(name: str, value: object) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ExportError, match=rf"{name}: expected an integer of at least [01], got"):
        ServingConfig(**wrong)


def test_gpus_are_named_as_torchserve_takes_them() -> None:
    content = yaml.safe_load(ServingConfig(device="gpu", device_ids=(0, 2)).to_yaml())
    assert content["deviceIds"] == [0, 2]


@pytest.mark.parametrize("ids", [(-1,), (0, 0), (True,), ("0",), (1.0,)])
def test_gpus_that_torchserve_would_pass_over_are_refused(ids: Any) -> None:
    with pytest.raises(ExportError, match="device_ids: expected different integers of at least 0, got"):
        ServingConfig(device="gpu", device_ids=ids)


def test_gpus_on_a_cpu_are_refused() -> None:
    with pytest.raises(ExportError, match=r"device_ids: \(0,\) are of GPUs, and device is cpu; choose gpu"):
        ServingConfig(device_ids=(0,))


def test_unknown_device_is_refused() -> None:
    with pytest.raises(ExportError, match="device: expected cpu or gpu, got 'cuda'"):
        ServingConfig(device="cuda")  # type: ignore[arg-type]
