"""A keyed digest of what a call asks for, by which a replay sees that a request is the one that was recorded.

It is made before redaction, and the key never leaves the store's folder: what was redacted can neither be read nor guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b, sha256
from typing import Any, Final

from llmtrace.codec import json_text, messages
from llmtrace.model import Embedding, Inference, JsonValue, Operation, Retrieval, ToolExecution

_BYTES = 16
_DIGEST: Final = "codec.request_digest"
"""Key of a message's or definition's digest in its cache."""
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)


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
    return blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=_BYTES, key=key).hexdigest()


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
