import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from torchtowers.serving import AsyncClient, Server
from torchtowers.serving.errors import (
    AnswerTimeoutError,
    BadRequestError,
    ModelNotFoundError,
    ServerNotRunningError,
    ServingError,
)
from torchtowers.serving.tokens import Tokens

both = pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
ANSWER = {"items": ["196", "é", "1.0"], "scores": [1.0, 0.5, 0.25]}


def run(server: Server, ask: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        async with AsyncClient.from_state(server.state) as client:
            return await ask(client)

    return asyncio.run(connected())


@pytest.mark.java
def test_asks_at_another_path(server: Server) -> None:
    body = {"user_id": "196"}
    for path in ("/v1/models/echo:predict", "/v2/models/echo/infer"):
        assert run(server, lambda client, path=path: client.predict("echo", body, path=path)) == ANSWER  # type: ignore[misc]


@pytest.mark.java
@both
def test_many_at_once(server: Server, grpc: bool) -> None:
    async def ask(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(
            *(client.predict("echo", {"user_id": str(user)}, grpc=grpc) for user in range(50))
        )

    assert [answer["items"][0] for answer in run(server, ask)] == [str(user) for user in range(50)]


@pytest.mark.java
@both
def test_errors_have_their_class(server: Server, grpc: bool) -> None:
    async def ask(client: AsyncClient) -> None:
        with pytest.raises(BadRequestError, match="user_id: expected a string"):
            await client.predict("echo", {}, grpc=grpc)
        with pytest.raises(ModelNotFoundError, match="Model not found: nope"):
            await client.predict("nope", {}, grpc=grpc)
        with pytest.raises(ModelNotFoundError, match="Model version: 9 does not exist"):
            await client.predict("echo", {}, version="9", grpc=grpc)
        with pytest.raises(AnswerTimeoutError, match=r"^echo: no answer within 0\.2 s$"):
            await client.predict("echo", {"user_id": "1", "sleep": 0.5}, grpc=grpc, timeout=0.2)
        with pytest.raises(ServingError, match="expected predictions for 1 rows"):
            await client.predict_rows("echo", [{}], grpc=grpc, user_id="1")

    run(server, ask)


@pytest.mark.java
@both
def test_a_refused_token_is_renewed(server: Server, grpc: bool) -> None:
    tokens = Tokens(server.state, server.record.management)

    async def ask() -> Any:
        record = server.record
        async with AsyncClient(
            record.inference, record.grpc, "expired", renew=lambda refused: tokens.current("inference")
        ) as client:
            return await client.predict("echo", {"user_id": "196"}, grpc=grpc)

    assert asyncio.run(ask()) == ANSWER


@both
def test_nobody_listens(grpc: bool) -> None:
    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:1", "127.0.0.1:1") as client:
            await client.predict("echo", {}, grpc=grpc)

    with pytest.raises(ServerNotRunningError, match=r"127\.0\.0\.1:1.*torchtowers serve start"):
        asyncio.run(ask())


def test_a_client_without_grpc_says_what_to_give() -> None:
    async def ask() -> None:
        async with AsyncClient("http://127.0.0.1:1") as client:
            await client.predict("echo", {}, grpc=True)

    with pytest.raises(ServingError, match="grpc="):
        asyncio.run(ask())
