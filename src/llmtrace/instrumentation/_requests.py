"""Shared by the providers whose model runs on a server: `ServerEndpoint`, addresses, and headers with the trace context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers

_PORTS = {"https": 443, "http": 80}

_addresses: dict[int, tuple[object, Fields]] = {}
"""By the id of the URL object. The object is kept, so that its id is not used again."""


class ServerEndpoint(Endpoint):
    """An endpoint of a server. Override `url`, and `provider` or `provider_of`."""

    provider: ClassVar[str] = ""
    operation: ClassVar[str | None] = None
    """The inference that the endpoint makes: ``chat`` …; None if it makes none (embeddings, a search)."""

    def __init__(self, *, stream: bool | None = None) -> None:
        """``stream``: True if the method always returns a stream, False if never; None: its argument ``stream`` decides."""
        self.stream = stream

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the server's URL: a text, or an object whose ``str`` it is."""
        return client.base_url

    def provider_of(self, client: Any, host: str | None) -> str:  # noqa: ARG002
        return self.provider

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        server, model = address(self.url(client, kwargs)), kwargs.get("model")
        fields = {**server, "request_model": model if isinstance(model, str) else None}
        fields["provider"] = self.provider_of(client, server.get("server_address"))
        if self.operation is not None:
            fields["operation"] = self.operation
            fields["stream"] = kwargs.get("stream") is True if self.stream is None else self.stream
        return fields


def address(url: Any) -> Fields:
    entry = _addresses.get(id(url))
    if entry is None:
        parts = urlsplit(str(url or ""))
        port = parts.port or _PORTS.get(parts.scheme)
        if len(_addresses) > 256:
            _addresses.clear()
        entry = url, {"server_address": parts.hostname, "server_port": port} if parts.hostname else {}
        _addresses[id(url)] = entry
    return entry[1]


def headers_in(kwargs: Mapping[str, Any], name: str, always: Any = ()) -> tuple[dict[str, Any], Headers | None]:
    """Do what `Endpoint.inject_headers` does, with the argument ``name``. ``always``: headers that the client always sends."""
    headers = dict(kwargs.get(name) or {})
    if (headers and has_traceparent(headers)) or (always and has_traceparent(always)):
        return dict(kwargs), None
    return {**kwargs, name: headers}, headers


def has_traceparent(headers: Any) -> bool:
    for name in headers or ():  # noqa: SIM110 - a loop is faster than a generator
        if str(name).lower() == "traceparent":
            return True
    return False


def with_trace(call: Call, headers: Any, always: Any = ()) -> Headers | None:
    """Return the headers of a request with the call's trace context; None if they, or the client's headers, have one
    already."""
    if has_traceparent(headers) or has_traceparent(always):
        return None
    return {**(headers or {}), **call.recording.headers()}


def note_request(call: Call, headers: Any, body: Any = None) -> None:
    """Count one HTTP request, the first or a retry, and add the trace context to its headers, unless they have one already."""
    call.attempt(body)
    if not has_traceparent(headers):
        headers.update(call.recording.headers())
