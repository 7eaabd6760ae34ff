from pathlib import Path

import pytest

from torchtowers.handlers.errors import FieldError
from torchtowers.serving import Server
from torchtowers.serving.demo_backend import Backend
from torchtowers.serving.errors import ServerNotRunningError, ServingError

pytestmark = pytest.mark.java


@pytest.fixture
def backend(server: Server) -> Backend:
    return Backend(server.state)


def test_models_with_their_versions(backend: Backend, server: Server) -> None:
    listed = backend.models()
    (echo,) = listed["models"]
    assert echo == {
        "name": "echo",
        "versions": [
            {"version": "1.0", "default": True, "ready": True},
            {"version": "2.0", "default": False, "ready": True},
        ],
    }
    assert listed["server"] == server.record.inference


def test_another_tools_model_can_not_be_shown(backend: Backend) -> None:
    with pytest.raises(ServingError, match=r"echo-1\.mar holds no signature\.json"):
        backend.shown("echo", None)
    with pytest.raises(ServingError, match=r"echo-2\.mar holds no signature\.json"):
        backend.shown("echo", "2.0")


def test_a_model_or_version_that_is_not_served(backend: Backend) -> None:
    with pytest.raises(FieldError, match="model: expected a model that the server serves, got nope"):
        backend.shown("nope", None)
    with pytest.raises(FieldError, match=r"version: expected one of the versions of echo, 1\.0, 2\.0, got 9"):
        backend.shown("echo", "9")


def test_names_that_are_not_served(server: Server) -> None:
    with pytest.raises(ServingError, match="serves echo, not films, ratings"):
        Backend(server.state, ("films", "ratings")).models()


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(ServerNotRunningError, match="no server runs in"):
        Backend(tmp_path).models()
