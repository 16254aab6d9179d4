"""Finds the instrumentations whose spans llmtrace cannot read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.model import Custom, JsonValue, Span, Trace
from llmtrace.text.patterns import lazy_pattern

PREFIXES: Final = (
    "gen_ai.",
    "llm.",
    "ai.",
    "openinference.",
    "traceloop.",
    "pydantic_ai.",
    "langfuse.",
    "genkit:",
    "mastra.",
    "spring.ai.",
    "langsmith.",
    "smolagents.",
    "crewai.",
)
"""Prefixes of attributes in which libraries record models, agents and tools."""
_WORD: Final = lazy_pattern(r"[A-Z]?[a-z]+|[A-Z]+")
_WORDS: Final = frozenset({"llm", "prompt", "prompts", "completion", "completions", "genai", "toolcall", "toolcalls"})
_PAIRS: Final = (
    (frozenset({"tool", "function"}), frozenset({"call", "calls", "arguments", "args", "result", "schema"})),
    (frozenset({"input", "output", "total"}), frozenset({"tokens"})),
    (frozenset({"chat", "agent", "assistant"}), frozenset({"messages", "message", "model", "response"})),
)
"""An attribute with a word of both sets in its name records a model or a tool."""
_MESSAGE: Final = lazy_pattern(r'"role"\s*:\s*"(?:user|assistant|system|tool|model|human|ai)"', re.IGNORECASE)
_MAX_NAMES: Final = 3
_MAX_SEARCHED: Final = 4096
"""Number of characters of a text that are searched for a message."""


class UnreadWriter(NamedTuple):
    name: str
    """Name of its scope, or of its first span if the scope has none."""
    attributes: tuple[str, ...]
    """A few names of attributes that look like content."""


def unread_writers(trace: Trace) -> tuple[UnreadWriter, ...]:
    """Return the scopes whose spans seem to record models, agents or tools, but of which no span could be read as one.

    llmtrace cannot check what they record. Their spans stay plain steps with all attributes.
    """
    read = {span.scope.name for span in trace.spans if span.run_id is not None or not isinstance(span.operation, Custom)}
    names: dict[str, dict[str, None]] = {}
    for span in trace.spans:
        if span.scope.name not in read and looks_like_agent(span):
            names.setdefault(span.scope.name or span.name, {}).update(dict.fromkeys(_content_attributes(span.attributes)))
    return tuple(UnreadWriter(name, tuple(keys)[:_MAX_NAMES]) for name, keys in names.items())


def looks_like_agent(span: Span) -> bool:
    """Return True if another writer's plain span seems to record models, agents or tools."""
    if span.run_id is not None or sc.SAME_CALL in span.attributes:
        return False
    return any(key.startswith(PREFIXES) for key in span.attributes) or bool(_content_attributes(span.attributes))


def _content_attributes(attributes: Mapping[str, JsonValue]) -> list[str]:
    return [key for key, value in attributes.items() if _is_content(key, value)]


def _is_content(key: str, value: JsonValue) -> bool:
    words = frozenset(word.lower() for word in _WORD.findall(key))
    if not words.isdisjoint(_WORDS):
        return True
    if any(not words.isdisjoint(first) and not words.isdisjoint(second) for first, second in _PAIRS):
        return True
    return isinstance(value, str) and _MESSAGE.search(value, 0, _MAX_SEARCHED) is not None
