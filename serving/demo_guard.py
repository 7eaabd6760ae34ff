"""Keeps a page on the loopback to the person at this host: other sites in the same browser get nothing."""

from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]

_HOSTS = ("127.0.0.1", "localhost")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests that another site's page could have made, and forbids the page to load anything else.

    A name that an attacker points at 127.0.0.1 comes as another `Host`; a request of another site's page
    comes with `Sec-Fetch-Site`, or with a body that is not declared as JSON, which is all that a page may
    send elsewhere without asking first.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope["method"], Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
            return
        status, reason = refusal
        await PlainTextResponse(reason, status)(scope, receive, _with_headers(send))


def _refusal(method: str, headers: Headers) -> tuple[int, str] | None:
    name, _, port = headers.get("host", "").partition(":")
    if name.lower() not in _HOSTS or not (port.isdecimal() or not port):
        return 421, "open this page as http://127.0.0.1 or http://localhost with its port\n"
    # A link elsewhere may lead here; what it opens can't be read from there.
    followed = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not followed:
        return 403, "this page's answers are for this page\n"
    if method == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return 415, "send JSON, declared as application/json\n"
    return None


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending
