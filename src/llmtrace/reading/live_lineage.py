"""`LiveLineage` finds identifiers in calls that nothing visible contains, while the program runs.

Spans wait unprocessed until a call contains an identifier. The newest messages are first searched for it literally. Only if
that fails are the earlier spans processed into sources, each once, and searched. Memory is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from itertools import chain
from typing import NamedTuple

from llmtrace.model.messages import Message, Text, ToolCall, ToolResult
from llmtrace.model.operations import FetchResponse, Inference, Operation
from llmtrace.model.spans import Span
from llmtrace.reading.lineage import build_use, place_of
from llmtrace.reading.message_history import ASSISTANT, remember
from llmtrace.reading.provenance import DoubtfulValue, Origin, Provenance, ValueUse
from llmtrace.reading.read_values import IDENTIFIERS, Reading, parts_of, read_value, scalars
from llmtrace.reading.sources import Source
from llmtrace.reading.untrusted import untrusted_values
from llmtrace.reading.visible_context import VisibleContext, call_key
from llmtrace.text.matching import LONGEST_IDENTIFIER, contains, stands_alone
from llmtrace.validation.json_pointers import pointer

MOST_SOURCES = 4096
MOST_CHARACTERS = 1 << 22
"""Most sources that are kept, and most characters of all of them together."""
_MOST_REMEMBERED = 8192
_MOST_PENDING = 32
_NEWEST = 8
"""Number of newest messages that are searched first."""


class LiveLineage:
    """The ungrounded and untrusted values of a run in progress."""

    _visible: VisibleContext | None = None
    """Created when spans are first processed. Many runs have no identifier that needs it."""

    def __init__(self) -> None:
        self._pending: list[Span] = []
        """Spans that are not processed yet."""
        self._sources = _NewestSources()
        self._grounded: dict[str, None] = {}
        """Keys of identifiers that were found in a source."""
        self._first: dict[str, Origin] = {}

    @property
    def hidden(self) -> Mapping[str, str]:
        """The reasons why some context is not visible, each with the id of a span. If there are any, nothing is ungrounded."""
        hidden = self._catch_up().hidden
        if self._sources.forgotten is not None:
            hidden.setdefault("the beginning of a long run is no longer in memory", self._sources.forgotten)
        return hidden

    def add(self, span: Span) -> tuple[ValueUse, ...]:
        """Process a span that has ended. Returns the ungrounded identifiers in its calls."""
        operation = span.operation
        candidates = _candidates(operation.output) if isinstance(operation, (Inference, FetchResponse)) else []
        candidates = [candidate for candidate in candidates if not self._is_grounded(candidate, operation)]
        if candidates:
            return self._judge(span, candidates)
        self._pending.append(span)
        if len(self._pending) > _MOST_PENDING:
            self._catch_up()
        return ()

    def ungrounded_in(self, call: ToolCall) -> tuple[DoubtfulValue, ...]:
        """Return the identifiers among a call's arguments that nothing visible contains. ``call``: a call that has not run."""
        if self.hidden:
            return ()
        return tuple(
            DoubtfulValue(pointer(candidate.reading.path), candidate.reading.value.content, candidate.reading.value.kind)
            for candidate in _candidates((Message("assistant", (call,)),))
            if self._missing_part(candidate, ())
        )

    def untrusted_in(self, call: ToolCall, *, reads: bool) -> tuple[DoubtfulValue, ...]:
        """Return the values among a call's arguments that occur only in the free text of results. See `untrusted_values`."""
        self._catch_up()
        return untrusted_values(self._sources.oldest_first(), call, reads=reads)

    def _is_grounded(self, candidate: _Candidate, operation: Operation) -> bool:
        """Return True if the identifier was found before, or occurs in one of the newest messages. A fast check."""
        key = candidate.key
        if key in self._grounded:
            return True
        if self._first or not isinstance(operation, Inference):  # new messages may only repeat an ungrounded value
            return False
        is_grounded = _stands_in_newest(candidate.written, operation.input)
        if is_grounded:
            remember(self._grounded, key, None, _MOST_REMEMBERED)
        return is_grounded

    def _catch_up(self, *last: Span) -> VisibleContext:
        visible = self._visible = self._visible or VisibleContext(
            self._sources.add, self._sources.add_definition, limit=_MOST_REMEMBERED
        )
        pending, self._pending = self._pending, []
        for span in (*pending, *last):
            visible.end(span)
            if isinstance(span.operation, (Inference, FetchResponse)):
                visible.add_output(span, span.operation.output)
        return visible

    def _judge(self, span: Span, candidates: list[_Candidate]) -> tuple[ValueUse, ...]:
        visible = self._catch_up()
        # An execution may end before the inference that requested it, and its result may repeat the value.
        own_calls = {candidate.call.id for candidate in candidates if candidate.call.id is not None} - visible.calls.keys()
        self._catch_up(span)
        uses: list[ValueUse] = []
        ungrounded: dict[str, set[str]] = {}
        for candidate in () if self.hidden else candidates:
            choice, position, call, reading, key, _ = candidate
            part = self._missing_part(candidate, own_calls)
            if not part:
                remember(self._grounded, key, None, _MOST_REMEMBERED)
                continue
            is_first = key not in self._first
            provenance = Provenance("ungrounded", first=self._first.setdefault(key, place_of(span, reading, call)))
            uses.append(build_use(span, choice, position, reading, call, provenance, is_first=is_first))
            ungrounded.setdefault(call_key(span, choice, position, call), set()).update((key, part))
        for call_id, keys in ungrounded.items():
            visible.mark_ungrounded(call_id, frozenset(keys))
        return tuple(uses)

    def _missing_part(self, candidate: _Candidate, own_calls: Collection[str]) -> str:
        """Return a part of an identifier that is not visible; empty if the whole identifier or all its parts are visible."""
        hold = self._sources.hold
        if hold(candidate.written, candidate.key, own_calls):
            return ""
        return next((part for part in parts_of(candidate.reading.value) if not hold(part, part, own_calls)), "")


class _Candidate(NamedTuple):
    """An identifier that is a whole argument."""

    choice: int
    position: int
    call: ToolCall
    reading: Reading
    key: str
    written: str


def _candidates(output: tuple[Message, ...]) -> list[_Candidate]:
    candidates: list[_Candidate] = []
    for choice, message in enumerate(output):
        for position, part in enumerate(message.parts):
            if type(part) is not ToolCall:
                continue
            for path, content in scalars(part.arguments):
                if type(content) is not str or not 4 < len(content) <= LONGEST_IDENTIFIER:
                    continue
                # Words and whole numbers are never identifiers, which is faster to see here.
                value = None if content.isalpha() or content.isdecimal() else read_value(content)
                if value is not None and value.kind in IDENTIFIERS:
                    reading = Reading(value, path, 0, len(content))
                    candidates.append(_Candidate(choice, position, part, reading, value.keys[0], content.strip()))
    return candidates


def _stands_in_newest(written: str, messages: tuple[Message, ...]) -> bool:
    for message in messages[: -_NEWEST - 1 : -1]:
        if message.role in ASSISTANT:
            continue
        for part in message.parts:
            text = part.content if type(part) is Text else part.response if type(part) is ToolResult else None
            if type(text) is str and stands_alone(written, text):
                return True
    return False


class _NewestSources:
    """The newest sources of a run, and the definitions of its tools."""

    def __init__(self) -> None:
        self.forgotten: str | None = None
        """The span of the newest source that was dropped."""
        self._sources: deque[Source] = deque()
        self._definitions: dict[str, Source] = {}
        self._characters = 0

    def add(self, source: Source) -> None:
        self._sources.append(source)
        self._characters += len(source.text)
        while len(self._sources) > MOST_SOURCES or self._characters > MOST_CHARACTERS:
            oldest = self._sources.popleft()
            self._characters -= len(oldest.text)
            self.forgotten = oldest.span_id

    def add_definition(self, source: Source) -> None:
        self._definitions[source.place] = source

    def oldest_first(self) -> list[Source]:
        return [*self._definitions.values(), *self._sources]

    def hold(self, written: str, key: str, own_calls: Collection[str]) -> bool:
        """Return True if a source contains an identifier and is not a result of ``own_calls``."""
        newest_first = chain(self._definitions.values(), reversed(self._sources))
        sources = (source for source in newest_first if source.call_id not in own_calls and key not in source.echo)
        return any(
            stands_alone(written, source.searchable) or contains(source.words, key)
            for source in sources
            if key in source.squashed
        )
