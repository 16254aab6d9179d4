"""`Lineage` finds the origin of each value that a model put into a call or an answer: in a running program and in a stored
trace, with the same verdicts.

Identifiers in calls are judged at once, because content that only repeats a made-up one is not evidence for it. All other
values are traced when `Lineage.uses` asks for them, as of the moment when their span was added.

A running program must pay little. So spans wait until a call contains an identifier that the newest messages do not show.
Only then are they split into sources, each once, and the sources are searched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from llmtrace.model.messages import Message, Text, ToolCall, ToolDefinition, ToolResult, refusal_as_text
from llmtrace.model.operations import AgentInvocation, FetchResponse, Inference, Operation, Workflow
from llmtrace.model.spans import Span
from llmtrace.reading.message_history import ASSISTANT, digest, remember
from llmtrace.reading.provenance import DoubtfulValue, Match, Origin, Provenance, ValueUse
from llmtrace.reading.read_values import Path, Reading, parts_of, read_arguments, read_identifiers, read_text, read_value
from llmtrace.reading.result_fields import leaves_of, structure_of
from llmtrace.reading.source_index import SourceIndex
from llmtrace.reading.sources import Source
from llmtrace.reading.untrusted import untrusted_values
from llmtrace.reading.visible_context import SpanCalls, VisibleContext
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import normalize_each, occurrences, stands_alone
from llmtrace.text.numbers import places_of_number
from llmtrace.validation.json_pointers import pointer

_MOST_REMEMBERED = 8192
_MOST_TO_TRACE = 1024
"""Most spans of a bounded lineage whose values can still be traced; beyond it, the oldest are dropped."""
_MOST_PENDING = 32
_NEWEST = 8
"""Number of newest messages that are searched first."""

_FORGOTTEN = "the beginning of a long run is no longer in memory"
_COMPOSED = "the program composed this answer"
_CHOSEN, _KNOWN, _PIECE = "it may be computed or chosen", "the model may know it", "it stands inside a longer argument"
_UNKNOWN = {"number": _CHOSEN, "date": _CHOSEN, "url": _KNOWN, "path": _KNOWN, "text": "the model's own words"}


class Lineage:
    """The origins of the values of a run. Spans are added in the order in which they ended, or in the order of `moments`."""

    def __init__(self, spans: Iterable[Span] = (), *, bounded: bool = False) -> None:
        """``spans``: the spans that will be added, if they are known. This makes it faster, and changes no result.

        ``bounded``: keep only the newest content in memory.
        """
        self._readings = {id(part.content): (part.content, _read(part.content)) for span in spans for part in _output(span)}
        """Values read from a text or call, by its id. The text or call is kept, too, so that its id is not reused."""
        self._is_bounded = bounded
        self._pending: list[tuple[Span, SpanCalls | None]] = []
        """Spans that are not split into sources yet, each with its calls. None: the span has only begun."""
        self._to_trace: deque[_Moment] = deque(maxlen=_MOST_TO_TRACE if bounded else None)
        self._uses: dict[str, list[ValueUse]] = {}
        """The traced values, by span id."""
        self._grounded: dict[str, None] = {}
        """Identifiers, as written, that were found in a source."""
        self._first_argument: dict[str, Origin] = {}
        """The first use of each ungrounded value in a call."""
        self._first: dict[str, Origin] = {}
        """The first use of each ungrounded value in a call or answer. Known only for traced values."""
        self._answered: set[str] = set()
        """Keys of the ungrounded values in answers."""

    @cached_property
    def _index(self) -> SourceIndex:
        readings = (reading for _, readings in self._readings.values() for reading in readings)
        return SourceIndex(_keys_of(readings), bounded=self._is_bounded)

    @cached_property
    def _visible(self) -> VisibleContext:
        return VisibleContext(self._index, limit=_MOST_REMEMBERED if self._is_bounded else None)

    @property
    def hidden(self) -> Mapping[str, str]:
        """The reasons why some context is not visible, each with the id of a span. A value not found is unknown then."""
        self._catch_up()
        return self._visible.hidden

    def begin(self, span: Span) -> None:
        """Process the input of an agent or workflow that begins."""
        self._pending.append((span, None))

    def add(self, span: Span, calls: SpanCalls) -> tuple[ValueUse, ...]:
        """Process a span that has ended. Returns the ungrounded identifiers that are whole arguments of its calls."""
        doubtful = [
            (part, reading)
            for part in (_output(span) if isinstance(span.operation, (Inference, FetchResponse)) else ())
            for reading in (read_identifiers(part.content.arguments) if isinstance(part.content, ToolCall) else ())
            if not self._is_grounded(reading.value.written, span.operation, calls)
        ]
        self._pending.append((span, calls))
        if doubtful:
            return self._judge(doubtful, calls)
        if len(self._pending) > _MOST_PENDING:
            self._catch_up()
        return ()

    def uses(self, span_id: str) -> list[ValueUse]:
        """Return all values that the model put into a span's calls and answers, in order.

        Only what was visible when the span was added counts.
        """
        self._catch_up()
        if self._to_trace:
            self._trace_all()
        return self._uses.get(span_id, [])

    def matches(self, origin: Origin, use: ValueUse) -> list[Match]:
        """Return the ranges of an origin's text that contain the value of a use. Empty if the place is unknown or too long."""
        source = self._index.source_at(origin)
        return [] if source is None else find_matches(source, use)

    def locate(self, origin: Origin, use: ValueUse) -> str:
        """Return the JSON Pointer to the member of a structured origin that contains the value; else empty."""
        return next((match.pointer for match in self.matches(origin, use)), "")

    def ungrounded_in(self, call: ToolCall) -> tuple[DoubtfulValue, ...]:
        """Return the identifiers among a call's arguments that nothing visible contains. ``call``: a call that has not run."""
        if self.hidden:
            return ()
        return tuple(
            DoubtfulValue(pointer(reading.path), reading.value.content, reading.value.kind)
            for reading in read_identifiers(call.arguments)
            if self._index.missing_part(reading.value)
        )

    def untrusted_in(self, call: ToolCall, *, reads: bool) -> tuple[DoubtfulValue, ...]:
        """Return the values among a call's arguments that occur only in the free text of results. See `untrusted_values`."""
        self._catch_up()
        definitions_first = sorted(self._index.sources.values(), key=lambda source: not source.is_definition)
        return untrusted_values(definitions_first, call, reads=reads)

    def _is_grounded(self, written: str, operation: Operation, calls: SpanCalls) -> bool:
        """Return True if the identifier was found before, or occurs in one of the newest messages. A fast check."""
        if written in self._grounded:
            return True
        # Once a value is ungrounded, new messages may only repeat it; and what another agent is told, a model may have written.
        if self._first_argument or not isinstance(operation, Inference) or calls.turn is None or calls.turn.conversation > 0:
            return False
        if not _stands_in_newest(written, operation.input):
            return False
        remember(self._grounded, written, None, _MOST_REMEMBERED)
        return True

    def _catch_up(self) -> None:
        """Split the pending spans into sources, and record what was visible when each of them was added."""
        visible, pending = self._visible, self._pending
        self._pending = []
        for span, calls in pending:
            if calls is None:
                self._visible.begin(span)
                continue
            operation, moment = span.operation, _Moment(span.span_id, _output(span), self._index.count)
            if isinstance(operation, (Inference, FetchResponse)):
                moment.own_calls = {call.id for call in calls.requested.values() if call.ran_before_request} - {None}
                moment.tools = operation.tools if isinstance(operation, Inference) else ()
                visible.end(span, calls)
                visible.add_output(span, operation.output, calls)
                moment.sources = self._index.count
            else:
                moment.composed = _COMPOSED
                # The values of the model's own words belong to the inference that wrote them.
                moment.parts = [part for part in moment.parts if not visible.seen.has("own", digest(part.content))]
                visible.end(span, calls)
            if self._index.forgotten is not None:
                visible.hidden.setdefault(_FORGOTTEN, self._index.forgotten)
            moment.hidden = next(iter(visible.hidden), "")
            if moment.parts:
                self._to_trace.append(moment)

    def _judge(self, doubtful: list[tuple[_OutputPart, Reading]], calls: SpanCalls) -> tuple[ValueUse, ...]:
        """Return the ungrounded ones among identifiers of the newest span."""
        self._catch_up()
        moment = self._to_trace[-1]
        uses: list[ValueUse] = []
        for part, reading in () if moment.hidden else doubtful:
            missing = self._index.missing_part(reading.value, moment.sources, moment.own_calls)
            if not missing:
                remember(self._grounded, reading.value.written, None, _MOST_REMEMBERED)
                continue
            key = reading.value.keys[0]
            place = _place_of(reading, part, moment)
            is_first = key not in self._first_argument
            first = self._first_argument.setdefault(key, place)
            moment.ungrounded[part.choice, part.position, reading.path] = is_first
            uses.append(_build_use(reading, part, moment, Provenance("ungrounded", first=first), is_first=is_first))
            self._visible.mark_ungrounded(calls.requested[part.choice, part.position], (key, missing))
        return tuple(uses)

    def _trace_all(self) -> None:
        """Trace the values of all spans that are not traced yet, in order, so that the first ungrounded use is known."""
        parts = [(moment, part, self._readings.get(id(part.content))) for moment in self._to_trace for part in moment.parts]
        texts = [(moment, part, _read(part.content) if known is None else known[1]) for moment, part, known in parts]
        index = self._index.with_keys(_keys_of(reading for _, _, readings in texts for reading in readings))
        for moment, part, readings in texts:
            uses = self._uses.get(moment.span_id, []) + [self._trace(reading, part, moment, index) for reading in readings]
            remember(self._uses, moment.span_id, uses, _MOST_REMEMBERED if self._is_bounded else None)
        self._to_trace.clear()

    def _trace(self, reading: Reading, part: _OutputPart, moment: _Moment, index: SourceIndex) -> ValueUse:
        is_first = moment.ungrounded.get((part.choice, part.position, reading.path)) if reading.whole else None
        sources = index.find(reading.value.keys, moment.sources, moment.own_calls) if is_first is None else None
        if sources is not None:
            provenance = Provenance("grounded", sources[0].origin, sources[1].origin)
        elif is_first is None and (reason := self._why_unknown(reading, part, moment, index)):
            provenance = Provenance("unknown", reason=reason)
        else:
            key = reading.value.keys[0]
            if is_first is None:
                is_first = key not in self._answered
                self._answered.add(key)
            provenance = Provenance("ungrounded", first=self._first.setdefault(key, _place_of(reading, part, moment)))
        return _build_use(reading, part, moment, provenance, is_first=is_first is True)

    def _why_unknown(self, reading: Reading, part: _OutputPart, moment: _Moment, index: SourceIndex) -> str:
        """Return the reason why a value not found is unknown; empty if it is ungrounded."""
        value = reading.value
        if not reading.can_be_ungrounded:
            return moment.composed or _UNKNOWN.get(value.kind, _PIECE)
        if reason := moment.composed or moment.hidden or (_FORGOTTEN if self._index.forgotten is not None else ""):
            return reason
        # An identifier composed of visible parts is unknown, not made up. For calls, `_judge` has looked for the parts.
        is_call = isinstance(part.content, ToolCall)
        return "its parts are visible" if is_call or not index.missing_part(value, moment.sources, moment.own_calls) else ""


class _OutputPart(NamedTuple):
    """A text or call that a model wrote, with its place in the output."""

    choice: int
    position: int
    content: Text | ToolCall


@dataclass(slots=True)
class _Moment:
    """What a span wrote, and what was visible to it."""

    span_id: str
    parts: list[_OutputPart]
    sources: int
    """Number of sources so far."""
    tools: tuple[ToolDefinition, ...] = ()
    own_calls: Collection[str | None] = ()
    """Ids of its calls. If an execution ended before the span that requested it, its result may repeat the arguments."""
    hidden: str = ""
    """The first reason why some context is not visible."""
    composed: str = ""
    """The reason why values are unknown, for an answer that a program composed."""
    ungrounded: dict[tuple[int, int, Path], bool] = field(default_factory=dict)
    """By choice, position and path: the ungrounded identifiers in its calls. True for the first use of the value in a call."""


def _output(span: Span) -> list[_OutputPart]:
    operation = span.operation
    if not isinstance(operation, (Inference, FetchResponse, AgentInvocation, Workflow)):
        return []
    parts = [
        (choice, position, refusal_as_text(part))
        for choice, message in enumerate(operation.output)
        for position, part in enumerate(message.parts)
    ]
    return [_OutputPart(choice, position, part) for choice, position, part in parts if isinstance(part, (Text, ToolCall))]


def _read(content: Text | ToolCall) -> list[Reading]:
    return read_text(content.content) if isinstance(content, Text) else read_arguments(content.arguments)


def _keys_of(readings: Iterable[Reading]) -> list[str]:
    """Return the search keys of values, and those of the parts of identifiers."""
    keys: list[str] = []
    for reading in readings:
        keys += reading.value.keys
        if reading.can_be_ungrounded:
            keys += parts_of(reading.value)
    return keys


def _stands_in_newest(written: str, messages: tuple[Message, ...]) -> bool:
    for message in messages[: -_NEWEST - 1 : -1]:
        if message.role in ASSISTANT:
            continue
        for part in message.parts:
            text = part.content if type(part) is Text else part.response if type(part) is ToolResult else None
            if type(text) is str and stands_alone(written, text):
                return True
    return False


def _place_of(reading: Reading, part: _OutputPart, moment: _Moment) -> Origin:
    """Return the place where a model wrote a value."""
    call = part.content
    if isinstance(call, Text):
        return Origin(moment.span_id, "answer")
    return Origin(moment.span_id, f"argument {pointer(reading.path)} of {call.name}", call.id)


def _build_use(reading: Reading, part: _OutputPart, moment: _Moment, provenance: Provenance, *, is_first: bool) -> ValueUse:
    value, path = reading.value, reading.path
    call = part.content if isinstance(part.content, ToolCall) else None
    return ValueUse(
        moment.span_id,
        "answer" if call is None else "argument",
        value.content,
        value.kind,
        provenance,
        value.keys[0],
        pointer(path),
        path,
        tool=None if call is None else call.name,
        call_id=None if call is None else call.id,
        choice=part.choice,
        start=reading.start,
        end=reading.end,
        text_part=part.position,
        whole=reading.whole,
        is_first_ungrounded=is_first,
        argument_label="" if call is None else _label(moment.tools, call, path),
    )


def _label(tools: Iterable[ToolDefinition], call: ToolCall, path: Path) -> str:
    """Describe the argument by names from the program's definitions. Names that the model may have made up are left out."""
    definition = next((tool for tool in tools if tool.name == call.name), None)
    if definition is None:
        return "an argument of a tool"
    schema = definition.parameters
    for name in path:
        container = schema if isinstance(schema, Mapping) else {}
        members = container.get("properties") if isinstance(name, str) else container
        schema = members.get(name if isinstance(name, str) else "items") if isinstance(members, Mapping) else None
    return f"{pointer(path) if schema is not None else 'an argument'} of {call.name}"


# -- the places of a value in a source


LONGEST_SOURCE = 1 << 20
"""Most characters of a source that is searched for places."""
MOST_MATCHES = 20


def find_matches(source: Source, use: ValueUse) -> list[Match]:
    """Return the places in a source that contain the value of a use. Values of members come before names of members."""
    if len(source.text) > LONGEST_SOURCE:
        return []
    content = structure_of(source.content)
    leaves = [((), source.text, False)] if content is None else sorted(leaves_of(content), key=lambda leaf: leaf[2])
    readings = read_text(use.value) if use.part == "answer" else []
    values = [*(reading.value for reading in readings if reading.value.keys[0] == use.key), read_value(use.value)]
    keys = (use.key,) if values[0] is None else values[0].keys
    matches = (
        Match(use.start, use.end, pointer(path), start, end, text[start:end], of_name)
        for path, text, of_name in leaves
        for start, end in _places_in(text, keys)
    )
    return list(islice(matches, MOST_MATCHES))


def _places_in(text: str, keys: tuple[str, ...]) -> Iterable[tuple[int, int]]:
    """Return the ranges of characters that match one of the keys, each once."""
    plain = normalize_each(text)
    spans: dict[tuple[int, int], None] = {}
    for key in keys:
        if key[0] == "=":
            places = places_of_number(plain, key)
        elif key[0] == "@":
            places = ((start, end) for start, end, written in dates_in(plain) if key in written)
        else:
            places = occurrences(text, key)
        spans.update(dict.fromkeys(places))
    return spans
