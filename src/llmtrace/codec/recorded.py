"""What a replay needs of a span (`model.Recorded`), as attributes and back. Only the local store keeps these attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_text
from llmtrace.model import Exchange, JsonValue, Recorded

KEYS: Final = (sc.REPLAY_REQUEST, sc.REPLAY_EXCHANGES, sc.REPLAY_RESULT_TYPE, sc.REPLAY_UNUSABLE)


def write(recorded: Recorded, out: dict[str, JsonValue]) -> None:
    """Add the attributes of ``recorded`` to ``out``."""
    if recorded.request:
        out[sc.REPLAY_REQUEST] = recorded.request
    if recorded.exchanges:
        out[sc.REPLAY_EXCHANGES] = json_text.write([_item(exchange) for exchange in recorded.exchanges])
    if recorded.result_type:
        out[sc.REPLAY_RESULT_TYPE] = recorded.result_type
    if recorded.unusable:
        out[sc.REPLAY_UNUSABLE] = recorded.unusable


def read(rest: dict[str, JsonValue]) -> Recorded | None:
    """Read and remove the attributes; None where there are none."""
    if not any(key in rest for key in KEYS):
        return None
    taken = {key: rest.pop(key, None) for key in KEYS}
    request, result_type, unusable = (
        _text(taken[key]) for key in (sc.REPLAY_REQUEST, sc.REPLAY_RESULT_TYPE, sc.REPLAY_UNUSABLE)
    )
    try:
        items: Any = json_text.read(_text(taken[sc.REPLAY_EXCHANGES]) or "[]")
        exchanges = tuple([_exchange(item) for item in items])
    except (ValueError, TypeError, AttributeError):  # damaged, or not ours
        return Recorded(request, (), result_type, unusable or "damaged")
    return Recorded(request, exchanges, result_type, unusable)


def without(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The attributes that may leave this machine; the same object where all may."""
    if not any(key in attributes for key in KEYS):
        return attributes
    return {key: value for key, value in attributes.items() if key not in KEYS}


def _item(exchange: Exchange) -> dict[str, JsonValue]:
    item: dict[str, JsonValue] = {}
    if exchange.status is not None:
        item["status"] = exchange.status
    if exchange.headers:
        item["headers"] = dict(exchange.headers)
    if exchange.body:
        item["body"] = list(exchange.body)
    if exchange.is_base64:
        item["base64"] = True
    if exchange.error:
        item["error"] = exchange.error
    if exchange.message:
        item["message"] = exchange.message
    return item


def _exchange(item: Any) -> Exchange:
    status = item.get("status")
    return Exchange(
        status if isinstance(status, int) else None,
        {str(name): str(value) for name, value in dict(item.get("headers") or {}).items()},
        tuple([str(chunk) for chunk in item.get("body") or ()]),
        item.get("base64") is True,
        _text(item.get("error")),
        _text(item.get("message")),
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
