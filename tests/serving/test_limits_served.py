"""A request at each limit, and one over it, over REST and gRPC to a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_ports_config, running
from torchtowers.export.archive import build_archive
from torchtowers.export.model_config import ServingConfig
from torchtowers.serving import Client
from torchtowers.serving.errors import BadRequestError
from torchtowers.serving.grpc_messages import PredictionsRequest

pytestmark = pytest.mark.java

ROWS, K, EXCLUDE, BYTES = 3, 5, 10_000, 1 << 18
ROW = {"user_id": "u3"}


@pytest.fixture(scope="module")
def client(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server with small limits."""
    folder = tmp_path_factory.mktemp("limits")
    build_archive(
        artifact, name="m", export_path=folder / "store", config=ServingConfig(max_rows=ROWS, max_k=K)
    )
    config = free_ports_config(folder, max_request_size=str(BYTES))
    with (
        running(folder / "store", config, folder / "state") as server,
        Client.from_state(server.state) as connected,
    ):
        yield connected


def rows(count: int, grpc: bool) -> dict[str, Any]:
    return {"instances": [ROW] * count}


def k(count: int, grpc: bool) -> dict[str, Any]:
    return {**ROW, "k": count}


def exclude(count: int, grpc: bool) -> dict[str, Any]:
    return {**ROW, "exclude": [str(number) for number in range(count)]}


def size(count: int, grpc: bool) -> dict[str, Any]:
    """Give a request of so many bytes: the body's over REST, the whole message's over gRPC."""
    body = {**ROW, "exclude": [""]}
    content = json.dumps(body, separators=(",", ":")).encode()
    empty = PredictionsRequest(model_name="m", input={"body": b"." * (count - 100)}).ByteSize() - count + 100
    body["exclude"] = ["x" * (count - len(content) - (empty if grpc else 0))]
    return body


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
@pytest.mark.parametrize(
    ("request_of", "most", "message"),
    [
        (rows, ROWS, "instances: at most 3 rows a request, got 4"),
        (k, K, "k: expected an integer from 1 to 5, got 6"),
        (exclude, EXCLUDE, "exclude: at most 10000 items, got 10001"),
        (size, BYTES, "m: the request is larger than the server's max_request_size"),
    ],
    ids=["rows", "k", "exclude", "size"],
)
def test_at_a_limit_and_one_over(
    client: Client, request_of: Any, most: int, message: str, grpc: bool
) -> None:
    assert client.predict("m", request_of(most, grpc), grpc=grpc)
    with pytest.raises(BadRequestError, match=message) as caught:
        client.predict("m", request_of(most + 1, grpc), grpc=grpc)
    assert caught.value.code == (413 if request_of is size else 400)
    assert client.predict("m", ROW, grpc=grpc)["items"]
