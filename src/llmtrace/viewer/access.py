"""Access checks: only the viewer's own page in the user's browser may read traces.

Laws: a request is answered only if

* its Host is one of the viewer's names, so that DNS rebinding does not work;
* its Origin, if it has one, is the viewer;
* it has the token, since other users of the machine can reach loopback.

A request that writes also needs what a page of another site cannot send: the viewer's Origin, the header `OWN_HEADER`, and
JSON. Every response forbids the browser to run or load anything but the viewer's own files.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MOST_BYTES = 1 << 20
"""Maximum size of a request's body. The largest bodies are the arguments of a call that a reviewer edited."""
MOST_QUERY_BYTES = 64 << 10
COOKIE = "llmtrace_token"
OWN_HEADER = "x-llmtrace"
"""Header that a writing request must have. A page of another origin cannot send it without a CORS preflight."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class AccessGuard:
    """Wraps an ASGI application, and refuses requests that break the module's laws.

    ``token``: every request must have it, the first as ``?token=…``, later ones in a cookie or as a bearer token.
    """

    def __init__(self, app: Any, *, token: str, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._token = token

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, sealed)

    def _refusal(self, scope: Any) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _name(host) not in self._hosts:
            return PlainTextResponse("The viewer does not answer for this host name. Open the address that it printed.", 421)
        if len(scope.get("query_string", b"")) > MOST_QUERY_BYTES or _length(headers) > MOST_BYTES:
            return PlainTextResponse("The request is too large.", 413)
        if _is_foreign(headers, host):
            return PlainTextResponse("Pages of other sites may not read traces.", 403)
        if scope["method"] not in ("GET", "HEAD") and (OWN_HEADER not in headers or "origin" not in headers):
            return PlainTextResponse("Only the viewer's own page may write.", 403)
        if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("What is written must be JSON.", 415)
        return self._without_token(scope, headers)

    def _without_token(self, scope: Any, headers: Headers) -> Response | None:
        request = Request(scope)
        if _same(request.query_params.get("token", ""), self._token):
            path = "/" + scope["path"].lstrip("/")  # `//host` would be an address on another host
            response = RedirectResponse(path, 303)
            response.set_cookie(COOKIE, self._token, httponly=True, samesite="lax")  # strict: not sent after a page on disk
            return response
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if _same(request.cookies.get(COOKIE, ""), self._token) or _same(bearer, self._token):
            return None
        return PlainTextResponse("The token is missing. Open the address that llmtrace view printed: it has ?token=…", 401)


def _same(candidate: str, token: str) -> bool:
    return hmac.compare_digest(candidate.encode("utf-8", "replace"), token.encode())


def _name(host: str) -> str:
    """Return the host name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _length(headers: Headers) -> int:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return MOST_BYTES + 1
    try:
        return int(headers.get("content-length", "0"))
    except ValueError:
        return MOST_BYTES + 1


def _is_foreign(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return True
    site = headers.get("sec-fetch-site", "none")
    navigated = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return site not in ("none", "same-origin") and not navigated
