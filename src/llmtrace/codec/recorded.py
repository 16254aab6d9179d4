"""What a replay needs of a span (`model.Recorded`), as attributes and back. Only the local store keeps these attributes.

Among it is a keyed digest of what a call asks for, by which a replay sees that a request is the one that was recorded. It is
made before redaction, and the key never leaves the store's folder: what was redacted can neither be read nor guessed.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_text, messages
from llmtrace.model import Embedding, Exchange, Inference, JsonValue, Operation, Recorded, Retrieval, ToolExecution

_FAST: Final = 1
"""Level of compression: a tenth of the time of the usual one, and the chunks of a stream are alike."""
_SMALL: Final = 1024
"""Bytes of a body that is kept as it is, if it is a text."""
_MOST_BYTES: Final = 1 << 26
KEYS: Final = frozenset({sc.REPLAY_REQUEST, sc.REPLAY_EXCHANGES, sc.REPLAY_RESULT_TYPE, sc.REPLAY_UNUSABLE})

_DIGEST_BYTES = 16
_DIGEST: Final = "codec.recorded"
"""Key of a message's or definition's digest in its cache."""
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)


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


# -- the digest of a request


def request_digest(operation: Operation, key: bytes = b"") -> str:
    """Return 32 hex digits: equal for requests that say the same. Empty for an operation that asks nobody.

    A message that comes again is not read again.
    """
    if isinstance(operation, Inference):
        asked = "\n".join(
            (
                operation.request_model or "",
                messages.write_parts(operation.system),
                _digests(operation.input, messages.write_messages),
                _digests(operation.tools, messages.write_definitions),
                _sorted(dict(operation.parameters)),
            )
        )
    elif isinstance(operation, ToolExecution):
        asked = f"{operation.name}\n{_sorted(operation.arguments)}"
    elif isinstance(operation, Embedding):
        asked = f"{operation.request_model}\n{operation.dimensions}"
    elif isinstance(operation, Retrieval):
        asked = f"{operation.data_source_id}\n{_sorted(operation.query)}"
    else:
        return ""
    return blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES, key=key).hexdigest()


def _digests(values: Iterable[Any], write: Callable[[Iterable[Any]], str]) -> str:
    """The digest of each, which stays in memory and so needs no key."""
    digests: list[str] = []
    for value in values:
        cache = value.cache
        digest = None if cache is None else cache.get(_DIGEST)
        if digest is None:
            digest = sha256(write((value,)).encode("utf-8", "surrogatepass")).hexdigest()
            if cache is not None:
                cache[_DIGEST] = digest
        digests.append(digest)
    return ",".join(digests)


def _sorted(value: JsonValue) -> str:
    """JSON text with the members of every object in the order of their names."""
    try:
        return _CANONICAL.encode(value)
    except Exception:  # names that have no order, a cycle, endless nesting
        return json_text.write(value)
