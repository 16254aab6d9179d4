"""A text that was visible to the model, with its place in the trace."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from pydantic_core import to_json

from llmtrace.lineage.provenance import Origin
from llmtrace.lineage.result_fields import fields_of
from llmtrace.model import JsonValue
from llmtrace.text.matching import squash, tokens, unescape

NO_ECHO: frozenset[str] = frozenset()

Speaker: TypeAlias = Literal["user", "program", "tool", "model"]
"""Whose words a source contains. ``program``: system prompts and definitions of tools. ``tool``: content from outside, such as
results, documents and memory. ``model``: also text that the model may have composed, such as the prompt of an agent that its
call started."""


@dataclass(slots=True)
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
    _text: str | None = field(default=None, compare=False, repr=False)
    _searchable: str | None = field(default=None, compare=False, repr=False)
    _squashed: str | None = field(default=None, compare=False, repr=False)
    _fields: frozenset[str] | None = field(default=None, compare=False, repr=False)

    @property
    def origin(self) -> Origin:
        return Origin(self.span_id, self.place, self.call_id, self.part)

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = self.content if isinstance(self.content, str) else as_text(self.content)
        return self._text

    @property
    def searchable(self) -> str:
        """The text without escapes, for searching. Words of plain text with a backslash are contained with and without it."""
        if self._searchable is None:
            self._searchable = _without_escapes(self.text)
        return self._searchable

    @property
    def squashed(self) -> str:
        """The letters and digits of the text. Computed on first use, as are `fields`."""
        if self._squashed is None:
            self._squashed = squash(self.searchable)
        return self._squashed

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a structured result, squashed."""
        if self._fields is None:
            self._fields = fields_of(self.content)
        return self._fields

    @property
    def words(self) -> list[str]:
        return tokens(self.searchable)


def holding(sources: Iterable[Source], key: str) -> Iterator[Source]:
    """Return the sources whose letters and digits contain a squashed value."""
    # A run may have hundreds of sources, so the attribute is read before the slower property.
    return (source for source in sources if key in (source._squashed or source.squashed))


def _without_escapes(text: str) -> str:
    if "\\" not in text:
        return text
    plain = unescape(text)
    if text.lstrip()[:1] in ("{", "[", '"'):
        return plain
    return "\n".join([plain, *(word for word in text.split() if "\\" in word)])


def as_text(content: JsonValue) -> str:
    """Return content as JSON; as ``repr`` if it cannot be written as JSON; empty if that fails, too."""
    try:
        return to_json(content, inf_nan_mode="constants").decode()
    except Exception:  # a cycle, or an object of the program
        try:
            return repr(content)
        except Exception:
            return ""
