"""A page in the browser to look at a served model: its users, what it recommends them, and how fast."""

import json
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from torchtowers.handlers.errors import BodyError, RequestError, TowersError, shorten
from torchtowers.serving.demo_backend import Backend
from torchtowers.serving.demo_requests import read_question
from torchtowers.serving.errors import ServerNotRunningError, ServingError

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    from torchtowers.serving.demo_guard import Guard
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.split(".")[0] not in ("starlette", "uvicorn"):
        raise
    raise ServingError(f"{missing.name} is not installed: pip install 'torchtowers[demo]'") from missing

__all__ = ["demo", "make_app"]

_FILES = {
    "/": ("demo_page.html", "text/html; charset=utf-8"),
    "/demo_page.css": ("demo_page.css", "text/css; charset=utf-8"),
    "/demo_page.js": ("demo_page.js", "text/javascript; charset=utf-8"),
    "/demo_controls.js": ("demo_controls.js", "text/javascript; charset=utf-8"),
    "/demo_users.js": ("demo_users.js", "text/javascript; charset=utf-8"),
    "/demo_view.js": ("demo_view.js", "text/javascript; charset=utf-8"),
    "/demo_icon.svg": ("demo_icon.svg", "image/svg+xml"),
}
_LARGEST_BODY = 1 << 20


def demo(
    names: tuple[str, ...] = (),
    *,
    state: str | Path | None = None,
    port: int = 8090,
    open_browser: bool = False,
    progress: Callable[[str], None] = print,
) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C.

    Args:
        names: The models to show; none shows all.
        state: The state folder of the server to ask, as for `start`.
        port: Where it listens; 0 for one that is free.
        open_browser: Whether the browser is told to open it.
        progress: Called with the address when it listens.

    Raises:
        ServerNotRunningError: No server runs.
        ServingError: The server serves none of `names`, or the port is taken.
    """
    backend = Backend(state, names)
    try:
        backend.models()
        with _listening(port) as listening:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            progress(f"{address} shows it; Ctrl-C ends it")
            if open_browser:
                webbrowser.open(address)
            config = uvicorn.Config(make_app(backend), log_level="warning", lifespan="on", ws="none")
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listening])
    finally:
        backend.close()


def make_app(backend: Backend) -> Starlette:
    """Make the application that answers the page; when it ends it closes the backend.

    Args:
        backend: What it asks.
    """

    async def models(_: Request) -> Response:
        return await _answered(backend.models)

    async def model(request: Request) -> Response:
        return await _answered(lambda: _shown(backend, request).describe())

    async def users(request: Request) -> Response:
        text = request.query_params.get("q", "")
        return await _answered(lambda: {"users": _shown(backend, request).users(text)})

    async def user(request: Request) -> Response:
        name = request.query_params.get("id", "")
        return await _answered(lambda: _shown(backend, request).profile(name))

    async def ask(request: Request) -> Response:
        try:
            question = read_question(await _json_of(request))
        except RequestError as error:
            return _refused(error)
        return await _answered(lambda: backend.ask(question))

    async def file(request: Request) -> Response:
        name, kind = _FILES[request.url.path]
        return FileResponse(Path(__file__).with_name(name), headers={"Content-Type": kind})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        backend.close()

    return Starlette(
        routes=[
            *(Route(path, file) for path in _FILES),
            Route("/api/models", models),
            Route("/api/model", model),
            Route("/api/users", users),
            Route("/api/user", user),
            Route("/api/ask", ask, methods=["POST"]),
        ],
        middleware=[Middleware(Guard)],
        lifespan=lifespan,
    )


def _shown(backend: Backend, request: Request) -> Any:
    return backend.shown(request.query_params.get("model", ""), request.query_params.get("version") or None)


async def _answered(work: Callable[[], dict[str, Any]]) -> Response:
    """Work in a thread, and give its result or what went wrong."""
    try:
        return JSONResponse(await run_in_threadpool(work))
    except TowersError as error:
        return _refused(error)


def _refused(error: TowersError) -> Response:
    if isinstance(error, RequestError):
        told, status = error.body(), error.code
    else:
        status = 503 if isinstance(error, ServerNotRunningError) else 502
        told = {"code": status, "type": type(error).__name__, "message": str(error)}
    return JSONResponse({"error": {**told, "control": told.get("field")}}, status)


async def _json_of(request: Request) -> Any:
    content = b""
    async for block in request.stream():
        content += block
        if len(content) > _LARGEST_BODY:
            raise BodyError(f"the request is larger than {_LARGEST_BODY} bytes", code=413)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise BodyError(f"expected JSON, got {shorten(content)}") from None


def _listening(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        raise ServingError(
            f"127.0.0.1:{port}: can't listen there ({reason}): name another port with --port"
        ) from None
    return listening
