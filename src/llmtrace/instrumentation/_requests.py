"""Reads parts of a request that many providers share: server, model and trace context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from llmtrace.instrumentation._provider import Call, Fields, Headers
from llmtrace.instrumentation._stainless import PORTS


def address(url: Any) -> Fields:
    parts = urlsplit(str(url or ""))
    return {"server_address": parts.hostname, "server_port": parts.port or PORTS.get(parts.scheme)} if parts.hostname else {}


def start_fields(provider: str, url: Any, kwargs: Mapping[str, Any], **fields: Any) -> Fields:
    """Return the result of `Endpoint.start_attributes` for a server at ``url``. ``fields``: further fields."""
    model = kwargs.get("model")
    return {"provider": provider, "request_model": model if isinstance(model, str) else None, **address(url), **fields}


def headers_in(kwargs: Mapping[str, Any], name: str, always: Any = ()) -> tuple[dict[str, Any], Headers | None]:
    """Do what `Endpoint.inject_headers` does, with the argument ``name``. ``always``: headers that the client always sends."""
    headers = dict(kwargs.get(name) or {})
    if has_traceparent(headers) or has_traceparent(always):
        return dict(kwargs), None
    return {**kwargs, name: headers}, headers


def has_traceparent(headers: Any) -> bool:
    return any(str(name).lower() == "traceparent" for name in headers or ())


def with_trace(call: Call, headers: Any, always: Any = ()) -> Headers | None:
    """Return the headers of a request with the call's trace context; None if they, or the client's headers, have one
    already."""
    if has_traceparent(headers) or has_traceparent(always):
        return None
    return {**(headers or {}), **call.recording.headers()}
