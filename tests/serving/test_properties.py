import socket
from pathlib import Path

import pytest
import yaml

from tests.servers import ROOT_CONFIG, free_ports_config
from torchtowers.export.model_config import ServingConfig
from torchtowers.handlers.limits import Limits
from torchtowers.serving.errors import ServingError
from torchtowers.serving.ports import require_free_ports
from torchtowers.serving.properties import read_properties


def test_the_projects_own() -> None:
    properties = read_properties(ROOT_CONFIG)
    assert [address.port for address in properties.addresses] == [8080, 8081, 8082, 7070, 7071]
    assert {address.host for address in properties.addresses} == {"127.0.0.1"}
    assert properties.token_authorization
    assert properties.values["enable_model_api"] == "false"
    assert properties.values["default_workers_per_model"] == "1"


def test_every_line_of_the_projects_own_is_explained() -> None:
    for block in ROOT_CONFIG.read_text(encoding="utf-8").strip().split("\n\n"):
        assert block.startswith("# ")


def test_what_goes_before_the_projects_own_is_told() -> None:
    archive = yaml.safe_load(ServingConfig().to_yaml())
    for block in ROOT_CONFIG.read_text(encoding="utf-8").split("\n\n"):
        for setting, key in (("response", "responseTimeout"), ("startup", "startupTimeout")):
            if f"default_{setting}_timeout=" in block:
                assert key in block
                assert str(archive[key]) in block.rpartition("\n")[0]


def test_a_worker_is_never_killed_for_an_answer_of_ours() -> None:
    allowed = int(read_properties(ROOT_CONFIG).values["max_response_size"])
    assert Limits().max_answer_bytes < allowed
    assert f"{Limits().max_answer_bytes // 1_000_000} MB" in ROOT_CONFIG.read_text(encoding="utf-8")


def test_the_defaults_are_torchserves(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    path.write_text("# nothing\n")
    properties = read_properties(path)
    assert properties.inference.url == "http://127.0.0.1:8080"
    assert properties.grpc_inference.target == "127.0.0.1:7070"
    assert properties.token_authorization


def test_javas_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9090")
    path = tmp_path / "config.properties"
    path.write_text(
        "! a comment\n  inference_address : http\\://0.0.0.0:${PORT}\n"
        "management_address=https://[::]\nvmargs=-Xmx1g \\\n    -Xms1g\nempty=\n"
        "disable_token_authorization=True\n"
    )
    properties = read_properties(path)
    assert properties.inference.host == "0.0.0.0"
    assert properties.inference.url == "http://127.0.0.1:9090"
    assert properties.management.url == "https://[::1]:443"
    assert properties.values["vmargs"] == "-Xmx1g -Xms1g"
    assert properties.values["empty"] == ""
    assert not properties.token_authorization


@pytest.mark.parametrize(
    "line",
    [
        "inference_address=8080",
        "metrics_address=http://:8082",
        "management_address=http://127.0.0.1:99999",
        "management_address=unix:/tmp/socket",
        "grpc_inference_port=none",
        "grpc_management_port=0",
    ],
)
def test_an_address_that_is_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "config.properties"
    path.write_text(line + "\n")
    key, _, value = line.partition("=")
    with pytest.raises(ServingError) as caught:
        read_properties(path)
    assert str(caught.value).startswith(f"{path}: {key}: expected ")
    assert str(caught.value).endswith(f"got {value}")


def test_free_ports_pass(tmp_path: Path) -> None:
    require_free_ports(read_properties(free_ports_config(tmp_path)))


@pytest.mark.parametrize("key", ["metrics_address", "grpc_management_port"])
def test_a_taken_port_is_named_with_its_key(tmp_path: Path, key: str) -> None:
    properties = read_properties(free_ports_config(tmp_path))
    (address,) = (one for one in properties.addresses if one.key == key)
    with socket.create_server(("127.0.0.1", address.port)), pytest.raises(ServingError) as caught:
        require_free_ports(properties)
    assert str(caught.value) == (
        f"port {address.port} of 127.0.0.1 is in use: stop what uses it, or set another port as {key} "
        f"in {properties.path}"
    )


def test_a_foreign_address(tmp_path: Path) -> None:
    # A documentation address (RFC 5737) is no host's own.
    config = free_ports_config(tmp_path, inference_address="http://192.0.2.1:8080")
    with pytest.raises(ServingError, match=r"port 8080 of 192\.0\.2\.1 can't be bound"):
        require_free_ports(read_properties(config))
