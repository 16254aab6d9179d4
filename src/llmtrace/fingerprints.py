"""Digests of the parts of a request that shape its answer, to tell "the provider changed" from "we changed".

Each is the first 16 hex digits of a SHA-256 over canonical JSON (sorted names, no spaces). System messages and tool definitions
are digested one by one, then their digests together; parameters are digested as a whole. Law: equal requests have equal
fingerprints in every process and release. A message or definition is digested once.

`prompt` remembers the texts that were filled from a template. A call whose messages hold such a text is marked with the
template's name and digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pydantic_core

from llmtrace.model import Fingerprint, Inference, JsonValue, Message, Part, Text, ToolDefinition

_SYSTEM_ROLES = frozenset({"system", "developer"})
_ASKING = frozenset({"system", "developer", "user"})
_KEY = "llmtrace.fingerprint"
"""Key of the digest in the ``cache`` of a message or definition."""
_PROMPTS_KEY = "llmtrace.prompts"
"""Key of the templates that a message was filled from, in its ``cache``."""
_DECLARED = frozenset({"changes", "polls", "trusted"})
_MAX_REMEMBERED = 256
_LONGEST = 64 * 1024
"""Longer texts are not cached."""
_texts: dict[str, bytes] = {}
_MOST_FILLED = 64
_LONGEST_FILLED = 1 << 20
_SHORTEST_PART = 32
"""Characters of the shortest filled text that is searched for inside longer ones."""
_filled: dict[str, str] = {}
"""The most recently filled texts, each with the name and digest of its template."""
_parameters: dict[bytes, str] = {}


def fingerprint(inference: Inference) -> Fingerprint:
    """Return the fingerprint of a request. A digest is None if the request has no such part."""
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
        _output_digest(inference.parameters) if inference.parameters else None,
        _prompts(inference) if _filled else (),
    )


def prompt(name: str, template: str, /, **values: object) -> str:
    """Return ``template.format(**values)``, or the template unchanged without values.

    Model calls whose messages contain this text are marked with ``name`` and a digest of ``template``
    (``llmtrace.fingerprint.prompts``). So `llmtrace diff` tells a changed template from the same template with other values.
    Raises the errors of `str.format`: KeyError for a missing value, ValueError for a lone brace.
    """
    text = template.format(**values) if values else template
    if text.strip() and len(text) <= _LONGEST_FILLED:
        _filled.pop(text, None)  # the text that is filled again is the latest
        _filled[text] = f"{name} {_digest(template).hex()[:16]}"
        if len(_filled) > _MOST_FILLED:
            for oldest in [*_filled][:-_MOST_FILLED]:  # a copy, since other threads fill prompts too
                _filled.pop(oldest, None)
    return text


def _prompts(inference: Inference) -> tuple[str, ...]:
    """Return the templates of a request's texts, in order. The result for a message is cached in it."""
    templates: dict[str, None] = {}
    for part in inference.system:
        templates.update(dict.fromkeys(_templates_in(part)))
    for message in inference.input:
        cache = message.cache
        names = None if cache is None else cache.get(_PROMPTS_KEY)
        if names is None:
            names = tuple([name for part in message.parts for name in _templates_in(part)]) if message.role in _ASKING else ()
            if cache is not None:
                cache[_PROMPTS_KEY] = names
        templates.update(dict.fromkeys(names))
    return tuple(templates)


def _templates_in(part: Part) -> list[str]:
    if type(part) is not Text:
        return []
    whole = _filled.get(part.content)
    if whole is not None:
        return [whole]
    return [name for text, name in [*_filled.items()] if len(text) >= _SHORTEST_PART and text in part.content]


def _output_digest(parameters: Mapping[str, JsonValue]) -> str | None:
    form = parameters.get("response_format")
    if form is None:
        settings = parameters.get("text")
        if settings is None:
            return None
        form = settings.get("format") if isinstance(settings, Mapping) else None
    return None if form is None else _parameters_digest({"response_format": form})


def _cached_digest(owner: Any, digest: Callable[[Any], bytes]) -> bytes:
    cache = owner.cache
    cached: bytes | None = None if cache is None else cache.get(_KEY)
    if cached is None:
        cached = digest(owner)
        if cache is not None:
            cache[_KEY] = cached
    return cached


def _joined(digests: list[bytes]) -> str:
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def _message(message: Message) -> bytes:
    """Digest a message. A system prompt of one text has the same digest as a message and as a separate instruction."""
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
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_type_name)
    except (TypeError, ValueError, RecursionError):  # mixed keys, a cycle
        text = _type_name(value)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _type_name(value: object) -> str:
    """Return the type's name for a value that is not JSON: its repr may contain an address, which differs between runs."""
    return f"<{type(value).__qualname__}>"


def _remember(memory: dict[Any, Any], key: Any, digest: Any) -> None:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = digest
