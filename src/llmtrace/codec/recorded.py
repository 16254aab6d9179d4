"""Converts what a replay needs of a span (`model.Recorded`) to attributes and back. Only the local store keeps them.

One of them is a keyed digest of the request, by which a replay recognises it. The digest is computed before redaction, and the
key never leaves the store's folder: so nobody can read or guess from it what was redacted.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Any, Final

from pydantic_core import to_json

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text, messages
from llmtrace.codec.fields import Row
from llmtrace.model import Embedding, Exchange, Inference, JsonValue, Operation, Recorded, Retrieval, ToolExecution

_COMPRESSION: Final = 1
"""zlib's fastest level. It takes a tenth of the default's time, and streams compress well, as their chunks are similar."""
_MAX_TEXT_BYTES: Final = 1024
"""A body of at most this size is stored as text: compression would cost more time than it saves space."""
_MAX_BODY_BYTES: Final = 1 << 26
_DIGEST_BYTES: Final = 16
_CACHE_KEY: Final = "codec.recorded"
"""Key of the digest in the cache of a message or tool definition."""
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)


def _write_exchanges(exchanges: Iterable[Exchange]) -> str:
    return json_text.write([_write_exchange(exchange) for exchange in exchanges])


def _write_exchange(exchange: Exchange) -> dict[str, JsonValue]:
    text = _as_text(exchange.body)
    item: dict[str, JsonValue] = {
        "status": exchange.status,
        "headers": dict(exchange.headers),
        "text": text,
        "body": b64encode(zlib.compress(exchange.body, _COMPRESSION)).decode() if text is None else None,
        "sizes": list(exchange.sizes),
        "error": exchange.error,
        "message": exchange.message,
        "cause": exchange.cause,
    }
    return {name: value for name, value in item.items() if value not in (None, "", {}, [])}


def _read_exchanges(value: JsonValue) -> tuple[Exchange, ...] | None:
    """Return None if the value is damaged, or written by another program."""
    try:
        items: Any = json_text.read(_text(value))
        return tuple([_read_exchange(item) for item in items])
    except (ValueError, TypeError, AttributeError, zlib.error):
        return None


def _read_exchange(item: Any) -> Exchange:
    status = item.get("status")
    return Exchange(
        status if isinstance(status, int) else None,
        {str(name): str(value) for name, value in dict(item.get("headers") or {}).items()},
        _text(item.get("text")).encode() or _decompress(item.get("body")),
        tuple([int(size) for size in item.get("sizes") or ()]),
        _text(item.get("error")),
        _text(item.get("message")),
        _text(item.get("cause")),
    )


def _as_text(body: bytes) -> str | None:
    """Return a body that is a short text; None for any other."""
    try:
        return body.decode() if len(body) <= _MAX_TEXT_BYTES else None
    except UnicodeDecodeError:
        return None


def _decompress(value: Any) -> bytes:
    if not value:
        return b""
    decompressor = zlib.decompressobj()
    body = decompressor.decompress(b64decode(value), _MAX_BODY_BYTES)
    if decompressor.unconsumed_tail:
        raise ValueError(f"the body of an exchange is longer than {_MAX_BODY_BYTES} bytes")
    return body


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


_ROWS: Final = (
    fields.name("request", sc.REPLAY_REQUEST),
    Row("exchanges", sc.REPLAY_EXCHANGES, _write_exchanges, _read_exchanges, omits_empty=True),
    fields.name("result_type", sc.REPLAY_RESULT_TYPE),
    fields.name("unusable", sc.REPLAY_UNUSABLE),
)
KEYS: Final = frozenset(row.key for row in _ROWS)
write: Final = fields.row_writer(_ROWS)
"""Add the attributes of a `Recorded`."""
_READ: Final = fields.row_reader(_ROWS)


def read(rest: dict[str, JsonValue]) -> Recorded | None:
    """Read and remove the attributes. Returns None if there are none."""
    if KEYS.isdisjoint(rest):
        return None
    values = _READ(rest)
    if sc.REPLAY_EXCHANGES in rest:
        values["unusable"] = values["unusable"] or "damaged"
    for key in KEYS.intersection(rest):
        del rest[key]
    recorded = Recorded(**values)
    return None if recorded == Recorded() else recorded


def without(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return the attributes that may leave this machine; the same object if all may."""
    private = KEYS.intersection(attributes)
    if not private:
        return attributes
    remaining = dict(attributes)
    for key in private:
        del remaining[key]
    return remaining


# -- the digest of a request


def request_digest(operation: Operation, key: bytes = b"") -> str:
    """Return 32 hex digits, equal for requests with equal content. Empty for an operation without a request.

    The digests of messages and definitions that have a cache are computed once.
    """
    if isinstance(operation, Inference):
        request = "\n".join(
            (
                operation.request_model or "",
                messages.write_parts(operation.system),
                _digests(operation.input, messages.write_messages),
                _digests(operation.tools, messages.write_definitions),
                _parameters(operation.parameters),
            )
        )
    elif isinstance(operation, ToolExecution):
        request = f"{operation.name}\n{_sorted(operation.arguments)}"
    elif isinstance(operation, Embedding):
        request = f"{operation.request_model}\n{operation.dimensions}"
    elif isinstance(operation, Retrieval):
        request = f"{operation.data_source_id}\n{_sorted(operation.query)}"
    else:
        return ""
    return blake2b(request.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES, key=key).hexdigest()


def _digests(values: Iterable[Any], write: Callable[[Iterable[Any]], str]) -> str:
    """Return the digest of each value. These digests need no key, since they stay in memory."""
    digests: list[str] = []
    for value in values:
        cache = value.cache
        digest = None if cache is None else cache.get(_CACHE_KEY)
        if digest is None:
            digest = sha256(write((value,)).encode("utf-8", "surrogatepass")).hexdigest()
            if cache is not None:
                cache[_CACHE_KEY] = digest
        digests.append(digest)
    return ",".join(digests)


def _parameters(parameters: Mapping[str, JsonValue]) -> str:
    """Return what `_sorted` does. Most calls of a program have the same parameters."""
    if not all(type(name) is str and type(value) in _SCALARS for name, value in parameters.items()):
        return _sorted(dict(parameters))
    try:
        key = to_json(parameters, inf_nan_mode="constants")
    except ValueError:  # a lone surrogate
        return _sorted(dict(parameters))
    text = _parameter_texts.get(key)
    if text is None:
        text = _sorted(dict(parameters))
        if len(key) <= _LONGEST_PARAMETERS:
            if len(_parameter_texts) >= _MOST_PARAMETERS:
                _parameter_texts.clear()
            _parameter_texts[key] = text
    return text


_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_parameter_texts: dict[bytes, str] = {}
_MOST_PARAMETERS = 64
_LONGEST_PARAMETERS = 16 << 10


def _sorted(value: JsonValue) -> str:
    """Write JSON text with the members of each object sorted by name."""
    try:
        return _CANONICAL.encode(value)
    except Exception:  # names that cannot be sorted, a cycle, nesting without end
        return json_text.write(value)
