"""What a replay needs of a span (`model.Recorded`), as attributes and back. Only the local store keeps these attributes."""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_text
from llmtrace.model import Exchange, JsonValue, Recorded

_FAST: Final = 1
"""Level of compression: a tenth of the time of the usual one, and the chunks of a stream are alike."""
_SMALL: Final = 1024
"""Bytes of a body that is kept as it is, if it is a text."""
_MOST_BYTES: Final = 1 << 26
KEYS: Final = frozenset({sc.REPLAY_REQUEST, sc.REPLAY_EXCHANGES, sc.REPLAY_RESULT_TYPE, sc.REPLAY_UNUSABLE})


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
    if KEYS.isdisjoint(rest):
        return None
    taken = {key: rest.pop(key, None) for key in KEYS}
    request, result_type, unusable = (
        _text(taken[key]) for key in (sc.REPLAY_REQUEST, sc.REPLAY_RESULT_TYPE, sc.REPLAY_UNUSABLE)
    )
    try:
        items: Any = json_text.read(_text(taken[sc.REPLAY_EXCHANGES]) or "[]")
        exchanges = tuple([_exchange(item) for item in items])
    except (ValueError, TypeError, AttributeError, zlib.error):  # damaged, or not ours
        exchanges, unusable = (), unusable or "damaged"
    recorded = Recorded(request, exchanges, result_type, unusable)
    return None if recorded == Recorded() else recorded


def without(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The attributes that may leave this machine; the same object where all may."""
    if KEYS.isdisjoint(attributes):
        return attributes
    remaining = dict(attributes)
    for key in KEYS:
        remaining.pop(key, None)
    return remaining


def _item(exchange: Exchange) -> dict[str, JsonValue]:
    item: dict[str, JsonValue] = {}
    if exchange.status is not None:
        item["status"] = exchange.status
    if exchange.headers:
        item["headers"] = dict(exchange.headers)
    text = _small_text(exchange.body)
    if text:
        item["text"] = text
    elif exchange.body:
        item["body"] = b64encode(zlib.compress(exchange.body, _FAST)).decode()
    if exchange.sizes:
        item["sizes"] = list(exchange.sizes)
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
        _text(item.get("text")).encode() or _body(item.get("body")),
        tuple([int(size) for size in item.get("sizes") or ()]),
        _text(item.get("error")),
        _text(item.get("message")),
    )


def _small_text(body: bytes) -> str | None:
    """A body that compressing would cost more time than it saves bytes; None for another one."""
    try:
        return body.decode() if len(body) <= _SMALL else None
    except UnicodeDecodeError:
        return None


def _body(value: Any) -> bytes:
    if not value:
        return b""
    unpacked = zlib.decompressobj()
    body = unpacked.decompress(b64decode(value), _MOST_BYTES)
    if unpacked.unconsumed_tail:
        raise ValueError("a body that is longer than any that is kept")
    return body


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""
