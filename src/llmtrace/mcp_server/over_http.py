"""Serves over HTTP, on loopback only. Laws: every request has the token, and a Host and Origin that are loopback."""

from __future__ import annotations

import contextlib
import hmac
import socket
from typing import Any

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from llmtrace.errors import PortBusy

HOST = "127.0.0.1"
PATH = "/mcp"


def listen(port: int) -> socket.socket:
    """Open the port; 0 is any free one. Raises PortBusy."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise PortBusy(
            f"cannot listen on {HOST} port {port}: {error.strerror}.\nUse another --port, or 0 to get a free one."
        ) from None


def serve(server: Any, listener: socket.socket, token: str) -> None:
    """Answer on the open port until Ctrl-C or SIGTERM. ``server`` is what `agent_server.build` returned."""
    options = {"stateless_http": True, "json_response": True}
    if hasattr(server.settings, "stateless_http"):  # mcp 1.x
        for name, value in options.items():
            setattr(server.settings, name, value)
        options = {}
    app = TokenGuard(
        server.streamable_http_app(**options), token
    )  # the library checks Host and Origin: its default on loopback
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1, ws="none")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run([listener])


class TokenGuard:
    """Wraps an ASGI application. A request without ``Authorization: Bearer TOKEN`` is answered with 401."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = self._app
        if scope["type"] == "http":
            sent = Headers(scope=scope).get("authorization", "")
            if not hmac.compare_digest(sent.encode(), self._expected):
                text = "The token is missing or wrong. llmtrace mcp --http --print-config CLIENT prints one with it."
                app = PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})
        await app(scope, receive, send)
