"""A first look at a whole span: most hold nothing that cleaning would change, and one scan over all their new texts tells.

Law: where `Glance.is_clean` says True, cleaning gives back the very same span. False says nothing: a closer look is needed. It
is needed wherever a rule of the user's is set, a key name stands for a secret, or the content comes near the limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llmtrace.content.messages import Messages
from llmtrace.content.redaction import Redactor
from llmtrace.content.values import WIDEST, Values
from llmtrace.model import (
    Evaluation,
    Message,
    Operation,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Violation,
)

_MEMBER = 144
"""Characters that a member of a value, or a part of a message, counts for beside its texts: its name, a number, punctuation."""
_SCALARS = frozenset({int, float, bool, type(None)})
_CONTAINERS = frozenset({dict, list, tuple})


class _CloserLook(Exception):
    """Something may have to be taken out, or is not known well enough."""


class Glance:
    """Looks at spans by the rules of ``values``. ``fields``: by class of operations, those that hold content or a name."""

    def __init__(self, values: Values, messages: Messages, fields: dict[type, tuple[str, ...]]) -> None:
        self._redactor = values.redactor
        self._off = values.redactor.asks_for_more
        self._limit = values.limit
        self._messages = messages
        self._fields = fields

    def is_clean(self, span: Span) -> bool:
        if self._off:
            return False
        seen = _Seen(self._redactor, self._messages, self._limit)
        try:
            seen.texts.append(span.name)
            seen.operation(span.operation, self._fields[type(span.operation)])
            if span.attributes:
                seen.value(span.attributes)
            if span.failure or span.violations or span.evaluations or span.events or span.links:
                seen.findings(span)
        except (_CloserLook, RuntimeError):  # nested too deep, or changed by another thread
            return False
        size = seen.size + sum(map(len, seen.texts))
        if size * WIDEST > self._limit or not self._redactor.are_clean(seen.texts):
            return False
        for message, length in seen.messages:
            self._messages.remember_clean(message, length)
        return True


class _Seen:
    """The texts of one span, gathered. Each method raises `_CloserLook` where texts are not all there is to look at."""

    __slots__ = ("_known", "_most", "_names", "_redactor", "messages", "size", "texts")

    def __init__(self, redactor: Redactor, known: Messages, most: int) -> None:
        """``most``: characters, beside those of the texts."""
        self.texts: list[str] = []
        self.size = 0
        """Characters, beside those of the texts."""
        self.messages: list[tuple[Message, int]] = []
        """Messages that were not known before, and their sizes."""
        self._redactor = redactor
        self._names = redactor.innocent
        self._known = known
        self._most = most

    def value(self, value: Any) -> None:
        """Any JSON value."""
        waiting = [value]
        while waiting:
            value = waiting.pop()
            kind = type(value)
            if kind is dict:
                self.size += _MEMBER * len(value)
                if not self._names.issuperset(value):
                    self._look_at_names(value)
                value = value.values()
            elif kind is list or kind is tuple:
                self.size += _MEMBER * len(value)
            else:
                value = (value,)
            for item in value:
                kind = type(item)
                if kind is str:
                    self.texts.append(item)
                elif kind in _CONTAINERS:
                    waiting.append(item)
                elif kind not in _SCALARS:
                    raise _CloserLook
            if self.size > self._most:  # one that holds itself has no end
                raise _CloserLook

    def _look_at_names(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._names and not self._redactor.is_innocent(name):
                raise _CloserLook

    def operation(self, operation: Operation, fields: Sequence[str]) -> None:
        for name in fields:
            held = getattr(operation, name)
            if not held:
                continue
            kind = type(held)
            if kind is str:
                self.texts.append(held)
            elif kind is tuple and name in _OF_MESSAGES:
                self.cached(held)
            elif kind is ToolDefinition:
                self.cached((held,))
            else:
                self.value(held)

    def cached(self, owners: Iterable[Any]) -> None:
        """Messages or definitions, or parts of system instructions. One that came out clean before is known."""
        for owner in owners:
            cache = getattr(owner, "cache", None)
            seen = cache.get(self._known) if cache else None
            if seen is not None and seen.clean is None:
                self.size += seen.size
            elif type(owner) is Message:
                self.message(owner)
            else:
                self.part(owner)

    def message(self, message: Message) -> None:
        texts, first, size = self.texts, len(self.texts), self.size
        texts.append(message.role)
        if message.name is not None:
            texts.append(message.name)
        for part in message.parts:
            self.part(part)
        if message.cache is not None:
            self.messages.append((message, self.size - size + sum(map(len, texts[first:]))))

    def part(self, part: Any) -> None:
        self.size += _MEMBER
        if isinstance(part, Text):
            self.texts.append(part.content)
        elif isinstance(part, ToolCall):
            self.texts.append(part.name)
            self.value(part.arguments)
        elif isinstance(part, ToolResult):
            self.value(part.response)
        else:  # of another kind, or a definition that was never cleaned, or did not come out as it was
            raise _CloserLook

    # -- what was found, and what the program added

    def findings(self, span: Span) -> None:
        failure = span.failure
        if failure is not None:
            self.texts += (failure.type, failure.message, failure.stacktrace)
        for violation in span.violations:
            self.violation(violation)
        for evaluation in span.evaluations:
            self.evaluation(evaluation)
        for event in span.events:
            self.texts.append(event.name)
            self.value(event.attributes)
        for link in span.links:
            self.value(link.attributes)

    def violation(self, found: Violation) -> None:
        self.texts += (found.pointer, found.message)
        if found.tool:
            self.texts.append(found.tool)
        if found.got is not None:
            self.placed(found.pointer, found.got)
        if found.expected is not None:
            self.value(found.expected)

    def evaluation(self, found: Evaluation) -> None:
        self.texts += (found.name, found.explanation)
        if found.label:
            self.texts.append(found.label)
        if found.pointer:
            self.texts.append(found.pointer)
        if found.evidence:
            self.placed(found.pointer or "", found.evidence)

    def placed(self, pointer: str, value: Any) -> None:
        """A value that was taken from below these names."""
        if "~" in pointer:
            raise _CloserLook
        if pointer:
            self._look_at_names(pointer[1:].split("/"))
        self.value(value)


_OF_MESSAGES = frozenset({"input", "output", "system", "tools"})
