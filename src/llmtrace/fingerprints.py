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
"""Under which a digest is remembered in the ``cache`` of a message or definition."""
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
        (each.cache and each.cache.get(_KEY)) or _remembered(each, _message)
        for each in inference.input
        if each.role in _SYSTEM_ROLES
    ]
    tools = [(tool.cache and tool.cache.get(_KEY)) or _remembered(tool, _tool) for tool in inference.tools]
    return Fingerprint(
        _joined(system) if system else None,
        _joined(tools) if tools else None,
        _of_parameters(inference.parameters) if inference.parameters else None,
    )


def _remembered(owner: Any, digest: Callable[[Any], bytes]) -> bytes:
    cache = owner.cache
    known: bytes | None = None if cache is None else cache.get(_KEY)
    if known is None:
        known = digest(owner)
        if cache is not None:
            cache[_KEY] = known
    return known


def _joined(digests: list[bytes]) -> str:
    joined = b"".join(digests)
    known = _joints.get(joined)
    if known is None:
        known = hashlib.sha256(joined).hexdigest()[:16]
        _remember(_joints, joined, known)
    return known


def _message(message: Message) -> bytes:
    """A system prompt of one text has one fingerprint, whether it came as a message or apart from the messages."""
    parts = [_part(part) for part in message.parts]
    return parts[0] if len(parts) == 1 else hashlib.sha256(b"".join(parts)).digest()


def _part(part: Part) -> bytes:
    if type(part) is not Text:
        return _digest([type(part).__name__, _fields(part)])
    known = _texts.get(part.content)
    if known is None:
        known = _digest(part.content)
        if len(part.content) <= _LONGEST:
            _remember(_texts, part.content, known)
    return known


def _tool(tool: ToolDefinition) -> bytes:
    """Of what the model is told; what a program declares to llmtrace alone shapes no answer."""
    return _digest({name: given for name, given in _fields(tool).items() if name not in _DECLARED})


def _of_parameters(parameters: Mapping[str, JsonValue]) -> str:
    try:
        written = pydantic_core.to_json(parameters)
    except Exception:  # no JSON: digested each time
        return _digest(dict(parameters)).hex()[:16]
    known = _parameters.get(written)
    if known is None:
        known = _digest(dict(parameters)).hex()[:16]
        if len(written) <= _LONGEST:
            _remember(_parameters, written, known)
    return known


def _fields(value: Any) -> dict[str, JsonValue]:
    fields = {name: getattr(value, name) for name in type(value).__slots__ if name != "cache"}
    return {name: given for name, given in fields.items() if given is not None}


def _digest(value: JsonValue) -> bytes:
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).digest()


def _canonical(value: JsonValue) -> str:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_type_name)
    except (TypeError, ValueError, RecursionError):  # mixed keys, a cycle
        return _type_name(value)


def _type_name(value: object) -> str:
    """Stands for what is no JSON: its type, since its looks (an address in memory) differ between runs."""
    return f"<{type(value).__qualname__}>"


def _remember(memory: dict[Any, Any], key: Any, made: Any) -> None:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = made
