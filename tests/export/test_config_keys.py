import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from torchtowers.export.config_keys import BACKEND_KEYS, SERVER_KEYS, config_faults
from torchtowers.export.model_config import ServingConfig


def test_the_list_is_the_servers_own() -> None:
    """The names that the server's class compares a file's keys with are constants of it."""
    ts = pytest.importorskip("ts", reason="needs torchserve: pip install 'torchtowers[serve]'")
    with zipfile.ZipFile(Path(ts.__path__[0]) / "frontend" / "model-server.jar") as jar:
        content = jar.read("org/pytorch/serve/archive/model/ModelConfig.class")
    constants = set(re.findall(rb"[\w-]{4,}", content))
    assert {key for key in SERVER_KEYS if key.encode() not in constants} == set()
    # Every setter's name tells of a key.
    setters = {name[3:].decode() for name in constants if re.fullmatch(rb"set[A-Z]\w+", name)}
    known = {key[0].upper() + key[1:] for key in SERVER_KEYS}
    assert {name for name in setters if len(name) > 4} - known <= {"ParallelMode", "TorchRun"}


@pytest.mark.parametrize(
    "config",
    [ServingConfig(), ServingConfig(device="gpu", device_ids=(0, 2), job_queue_size=5, client_timeout=10)],
)
def test_what_we_write_has_no_fault(config: ServingConfig) -> None:
    content = yaml.safe_load(config.to_yaml())
    assert list(config_faults(content)) == []
    assert set(content) <= {*SERVER_KEYS, *BACKEND_KEYS}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"batchsize": 8}, ("unknown", "batchsize", "did you mean batchSize?")),
        ({"xyzzy": 8}, ("unknown", "xyzzy", "passes over it in silence")),
        ({7: 8}, ("unknown", "7", "passes over it in silence")),
        ({"batchSize": 0}, ("mistyped", "batchSize", "expected an integer of at least 1, got 0")),
        ({"batchSize": True}, ("mistyped", "batchSize", "expected an integer of at least 1, got True")),
        ({"batchSize": "8"}, ("mistyped", "batchSize", "expected an integer of at least 1, got '8'")),
        ({"maxBatchDelay": 1.5}, ("mistyped", "maxBatchDelay", "expected an integer of at least 1, got 1.5")),
        ({"maxBatchDelay": 0}, ("mistyped", "maxBatchDelay", "expected an integer of at least 1, got 0")),
        ({"deviceType": "cuda"}, ("mistyped", "deviceType", "expected cpu or gpu, got 'cuda'")),
        ({"deviceType": ["cpu"]}, ("mistyped", "deviceType", "expected cpu or gpu, got ['cpu']")),
        ({"deviceIds": 0}, ("mistyped", "deviceIds", "expected a list of integers of at least 0, got 0")),
        ({"deviceIds": [0, -1]}, ("mistyped", "deviceIds", "expected a list of integers of at least 0")),
        ({"useVenv": "yes"}, ("mistyped", "useVenv", "expected true or false, got 'yes'")),
        ({"torchrun": 2}, ("mistyped", "torchrun", "expected a mapping, got 2")),
        ({"minWorkers": 3, "maxWorkers": 2}, ("mistyped", "maxWorkers", "at least minWorkers, 3, got 2")),
        ([1], ("mistyped", "", "expected a mapping of keys, got list")),
    ],
)
def test_faults(content: Any, fault: tuple[str, str, str]) -> None:
    ((kind, key, text),) = config_faults(content)
    assert (kind, key) == fault[:2]
    assert fault[2] in text


def test_an_empty_file_is_fine() -> None:
    assert list(config_faults(None)) == []
    assert list(config_faults({"handler": {"profile": True}, "pt2": "inductor"})) == []
