"""HTTP requests to a backend: its address, one request, and errors that say what happened, where and what to do.

Law: no message contains a password, a token or any other header. A response of more than `MAX_BYTES` is refused.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException, HTTPResponse
from typing import Any

from llmtrace.errors import UnreadableStore
from llmtrace.model.value import value

SECONDS = 60.0
"""Timeout for the connection, and for each part of the response."""
MAX_BYTES = 512 << 20


class TooLarge(UnreadableStore):
    """The response has more than `MAX_BYTES`."""


class Refused(UnreadableStore):
    """The backend answered with an HTTP error: its ``status``, and ``reason``, the text of the response."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@value
class Address:
    """A backend's address, read from a store's URL such as ``tempo+https://user:password@host:3200/prefix?days=3``."""

    base: str
    """``https://host:3200/prefix``, without credentials."""
    path: tuple[str, ...]
    """The parts of the URL's path."""
    options: Mapping[str, str]
    """The URL's query parameters."""
    headers: Mapping[str, str]

    def request(
        self,
        path: str,
        options: Mapping[str, Any] | None = None,
        *,
        body: bytes | None = None,
        accept: str = "",
        seconds: float = SECONDS,
    ) -> bytes:
        """Send GET, or POST if there is a body. Raises `Refused` for an HTTP error, UnreadableStore without a response."""
        url = f"{self.base}{path}"
        if options:
            url += "?" + urllib.parse.urlencode(options)
        headers = {"Accept-Encoding": "gzip", **({"Accept": accept} if accept else {}), **self.headers}
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - `address` admits http and https
        try:
            tls = ssl.create_default_context() if url.startswith("https:") else None
            with urllib.request.urlopen(request, timeout=seconds, context=tls) as response:  # noqa: S310
                return _read_body(response, self.base)
        except urllib.error.HTTPError as error:
            reason = ""
            with contextlib.suppress(OSError):
                reason = " ".join(error.read(2000).decode("utf-8", "replace").split())[:300]
            hint = _CREDENTIALS if error.code in (401, 403) else ""
            raise Refused(
                f"{self.base}{path} answered {error.code} {error.reason}: {reason}{hint}", error.code, reason
            ) from None
        except (OSError, HTTPException) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            raise UnreadableStore(f"cannot reach {self.base} ({cause}). Is it running, and is the address right?") from None


_CREDENTIALS = ". Set LLMTRACE_STORE_HEADERS, e.g. 'Authorization=Bearer …', or user:password@ in the URL"


def address(
    url: str, headers: Mapping[str, str], option_names: Sequence[str], *, ports: tuple[int, int], prefix: bool = True
) -> Address:
    """Read a backend's address from a store's URL.

    ``option_names``: the query parameters that are allowed. ``ports``: defaults without and with TLS. ``prefix``: the URL's
    path is put before each request's path. Raises UnreadableStore for a missing host or an unknown option.
    """
    parts = urllib.parse.urlsplit(url)
    scheme = "https" if parts.scheme.endswith("https") else "http"
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise UnreadableStore(f"no host in the store's URL. Write it as {parts.scheme}://localhost:1234")
    if ":" in host:
        host = f"[{host}]"
    request_headers = dict(headers)
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        request_headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    base = f"{scheme}://{host}:{port or ports[scheme == 'https']}"
    path = tuple(part for part in parts.path.split("/") if part)
    base += "".join(f"/{part}" for part in path) if prefix else ""
    options = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    unknown = next((name for name in options if name not in option_names), None)
    if unknown is not None:
        raise UnreadableStore(f"unknown option {unknown!r} in the store's URL ({base}). Options: {', '.join(option_names)}")
    return Address(base, path, options, request_headers)


def _read_body(response: HTTPResponse, base: str) -> bytes:
    data = response.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLarge(f"{base} answered with more than {MAX_BYTES >> 20} MiB. Ask for less with --limit or --since")
    if response.headers.get("Content-Encoding", "").lower() == "gzip":
        return gzip.decompress(data)
    return data
