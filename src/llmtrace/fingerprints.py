"""Digests of what shapes an answer, to tell "the provider changed it" from "we changed it".

Each is the first 16 hex digits of a SHA-256 over canonical JSON (sorted names, no spaces): of each system or developer message
and each tool definition on its own, then of these digests in order; of the parameters at once. Law: equal requests have equal
fingerprints, in every process and release; a message or definition that was digested before is not looked at again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pydantic_core

from llmtrace.model import Fingerprint, Inference, JsonValue, Message, Part, Text, ToolDefinition

_SYSTEM_ROLES = frozenset({"system", "developer"})
_KEY = "llmtrace.fingerprint"
"""Key of the digest in the ``cache`` of a message or definition."""
_DECLARED = frozenset({"changes", "polls"})
_MAX_REMEMBERED = 256
_LONGEST = 64 * 1024
"""Longer texts are not kept in memory just to be recognised."""
_texts: dict[str, bytes] = {}
_joints: dict[bytes, str] = {}
_parameters: dict[bytes, str] = {}


def fingerprint(inference: Inference) -> Fingerprint:
    """The fingerprint of a request. A part of it is None where the request had none of it."""
    system = [_part(part) for part in inference.system] if inference.system else []
    system += [
        (message.cache and message.cache.get(_KEY)) or _cached_digest(message, _message)
        for message in inference.input
        if message.role in _SYSTEM_ROLES
    ]
    tools = [(tool.cache and tool.cache.get(_KEY)) or _cached_digest(tool, _tool) for tool in inference.tools]
    return Fingerprint(
        _joined(system) if system else None,
        _joined(tools) if tools else None,
        _parameters_digest(inference.parameters) if inference.parameters else None,
    )


def _cached_digest(owner: Any, digest: Callable[[Any], bytes]) -> bytes:
    cache = owner.cache
    cached: bytes | None = None if cache is None else cache.get(_KEY)
    if cached is None:
        cached = digest(owner)
        if cache is not None:
            cache[_KEY] = cached
    return cached


def _joined(digests: list[bytes]) -> str:
    joined = b"".join(digests)
    cached = _joints.get(joined)
    if cached is None:
        cached = hashlib.sha256(joined).hexdigest()[:16]
        _remember(_joints, joined, cached)
    return cached


def _message(message: Message) -> bytes:
    """A system prompt of one text has one fingerprint, whether it came as a message or apart from the messages."""
    parts = [_part(part) for part in message.parts]
    return parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(parts)).digest()


def _part(part: Part) -> bytes:
    if type(part) is not Text:
        return _digest([type(part).__name__, _fields(part)])
    cached = _texts.get(part.content)
    if cached is None:
        cached = _digest(part.content)
        if len(part.content) <= _LONGEST:
            _remember(_texts, part.content, cached)
    return cached


def _tool(tool: ToolDefinition) -> bytes:
    """Digest the part of a definition that is sent to the model. Declarations to llmtrace do not affect answers."""
    return _digest({name: member for name, member in _fields(tool).items() if name not in _DECLARED})


def _parameters_digest(parameters: Mapping[str, JsonValue]) -> str:
    try:
        written = pydantic_core.to_json(parameters)
    except Exception:  # no JSON: digested each time
        return _digest(dict(parameters)).hex()[:16]
    cached = _parameters.get(written)
    if cached is None:
        cached = _digest(dict(parameters)).hex()[:16]
        if len(written) <= _LONGEST:
            _remember(_parameters, written, cached)
    return cached


def _fields(value: Any) -> dict[str, JsonValue]:
    fields = {name: getattr(value, name) for name in type(value).__slots__ if name != "cache"}
    return {name: member for name, member in fields.items() if member is not None}


def _digest(value: JsonValue) -> bytes:
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).digest()


def _canonical(value: JsonValue) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_type_name)
    except (TypeError, ValueError, RecursionError):  # mixed keys, a cycle
        return _type_name(value)


def _type_name(value: object) -> str:
    """Return the type's name in place of a value that is not JSON: its repr may hold an address, which differs between runs."""
    return f"<{type(value).__qualname__}>"


def _remember(memory: dict[Any, Any], key: Any, digest: Any) -> None:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = digest
