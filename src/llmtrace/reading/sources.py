"""A text that was visible to the model, with its place in the trace."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from llmtrace.codec import json_text
from llmtrace.model import JsonValue
from llmtrace.reading.provenance import Origin
from llmtrace.reading.result_fields import fields_of
from llmtrace.text.matching import squash, tokens, unescape

NO_ECHO: frozenset[str] = frozenset()

Speaker: TypeAlias = Literal["user", "program", "tool", "model"]
"""Whose words a source contains. ``program``: system prompts and definitions of tools. ``tool``: content from outside, such as
results, documents and memory. ``model``: also text that the model may have composed, such as the prompt of an agent that its
call started."""


Trust: TypeAlias = Literal["all", "fields", "none"]


@dataclass
class Source:
    """A visible text, such as a message, a system prompt or a tool's result."""

    span_id: str
    place: str
    content: JsonValue
    echo: Container[str] = NO_ECHO
    """Keys of ungrounded values that this source only repeats. It is not evidence for them."""
    call_id: str | None = None
    part: int = 0
    speaker: Speaker = "tool"
    query: JsonValue = None
    """The arguments of the call that this result answers."""
    is_definition: bool = False
    """True for the definition of a tool."""
    trust: Trust = "fields"
    """Of a tool's result: what of it is trusted. ``none``, too, if the tool returns text, whatever that looks like."""

    def __post_init__(self) -> None:
        self.text = self.content if isinstance(self.content, str) else json_text.write(self.content)

    @property
    def origin(self) -> Origin:
        return Origin(self.span_id, self.place, self.call_id, self.part)

    @cached_property
    def searchable(self) -> str:
        """The text without escapes, for searching. Words of plain text with a backslash are contained with and without it."""
        text = self.text
        if "\\" not in text:
            return text
        plain = unescape(text)
        if text.lstrip()[:1] in ("{", "[", '"'):
            return plain
        return "\n".join([plain, *(word for word in text.split() if "\\" in word)])

    @cached_property
    def squashed(self) -> str:
        """The letters and digits of the text."""
        return squash(self.searchable)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields of a structured result, squashed."""
        return fields_of(self.content) if self.trust == "fields" else frozenset()

    @property
    def words(self) -> list[str]:
        return tokens(self.searchable)
