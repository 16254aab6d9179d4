"""Questions to a backend over HTTP: one request, its answer, and an error that says what, where and what to do.

Law: a password, a token or any other header is in no message; an answer beyond `MAX_BYTES` is refused, not held.
"""

from __future__ import annotations

import base64
import gzip
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any

from llmtrace.errors import UnreadableStore
from llmtrace.model.value import value

SECONDS = 60.0
"""How long an answer may take to begin or to go on."""
MAX_BYTES = 512 << 20


class TooLarge(UnreadableStore):
    """An answer beyond `MAX_BYTES`."""


class Refused(UnreadableStore):
    """The backend answered, and said no: ``status`` is HTTP's, ``said`` what it gave as its reason."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


@value
class Address:
    """Where a backend is, out of a store's URL: ``tempo+https://user:password@host:3200/prefix?days=3``."""

    base: str
    """``https://host:3200/prefix``, without credentials."""
    path: tuple[str, ...]
    """The parts of the URL's path."""
    options: Mapping[str, str]
    """What stands behind the question mark."""
    headers: Mapping[str, str]

    def ask(
        self,
        path: str,
        options: Mapping[str, Any] | None = None,
        *,
        body: bytes | None = None,
        accept: str = "",
        seconds: float = SECONDS,
    ) -> bytes:
        """GET, or POST where there is a body. Raises `Refused` for an HTTP error, UnreadableStore where there is no answer."""
        url = f"{self.base}{path}"
        if options:
            url += "?" + urllib.parse.urlencode(options)
        headers = {"Accept-Encoding": "gzip", **({"Accept": accept} if accept else {}), **self.headers}
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - `address` admits http and https
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=_tls(url)) as answer:  # noqa: S310
                return _whole(answer, self.base)
        except urllib.error.HTTPError as error:
            said = _said(error)
            hint = _HINTS.get(error.code, "")
            raise Refused(f"{self.base}{path} answered {error.code} {error.reason}: {said}{hint}", error.code, said) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreadableStore(f"cannot reach {self.base} ({reason}). Is it running, and is the address right?") from None


_HINTS = {
    401: ". Set LLMTRACE_STORE_HEADERS, e.g. 'Authorization=Bearer …', or user:password@ in the URL",
    403: ". Set LLMTRACE_STORE_HEADERS, e.g. 'Authorization=Bearer …', or user:password@ in the URL",
}


def address(
    url: str, headers: Mapping[str, str], known: Sequence[str], *, ports: tuple[int, int], prefix: bool = True
) -> Address:
    """``known``: names of options. ``ports``: without and with TLS, for a URL that has none. ``prefix``: the URL's path stands
    before each path that is asked for. Raises UnreadableStore where there is no host, or an option that is not known."""
    parts = urllib.parse.urlsplit(url)
    scheme = "https" if parts.scheme.endswith("https") else "http"
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise UnreadableStore(f"{parts.scheme}: an address such as {parts.scheme}://localhost:1234 was expected")
    if ":" in host:
        host = f"[{host}]"
    said = dict(headers)
    if parts.username is not None:
        pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        said["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    base = f"{scheme}://{host}:{port or ports[scheme == 'https']}"
    path = tuple(part for part in parts.path.split("/") if part)
    base += "".join(f"/{part}" for part in path) if prefix else ""
    options = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    unknown = next((name for name in options if name not in known), None)
    if unknown is not None:
        raise UnreadableStore(f"{base}: there is no option {unknown!r}; behind the question mark stand {', '.join(known)}")
    return Address(base, path, options, said)


def _tls(url: str) -> ssl.SSLContext | None:
    return ssl.create_default_context() if url.startswith("https:") else None


def _whole(answer: Any, base: str) -> bytes:
    data: bytes = answer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise TooLarge(f"{base} answered with more than {MAX_BYTES >> 20} MiB. Ask for less: --limit, --since")
    if answer.headers.get("Content-Encoding", "").lower() == "gzip":
        return gzip.decompress(data)
    return data


def _said(error: urllib.error.HTTPError) -> str:
    try:
        text = error.read(2000).decode("utf-8", "replace")
    except OSError:
        return ""
    return " ".join(text.split())[:300]
