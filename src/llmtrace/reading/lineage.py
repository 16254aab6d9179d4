"""`LineageTracker` finds the origin of each value that a model put into a call or an answer, over a whole trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Literal

from llmtrace.model import (
    AgentInvocation,
    FetchResponse,
    Inference,
    Message,
    Part,
    Span,
    Text,
    ToolCall,
    Workflow,
    refusal_as_text,
)
from llmtrace.reading.message_history import digest
from llmtrace.reading.provenance import Match, Origin, Provenance, ValueUse
from llmtrace.reading.read_values import IDENTIFIERS, Path, Reading, parts_of, read_arguments, read_text, read_value
from llmtrace.reading.result_fields import leaves_of, structure_of
from llmtrace.reading.source_index import SourceIndex
from llmtrace.reading.sources import Source
from llmtrace.reading.visible_context import VisibleContext, call_key
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import normalize_each, occurrences
from llmtrace.text.numbers import places_of_number
from llmtrace.validation.json_pointers import pointer

_ANSWER = "answer"
_CHOSEN, _KNOWN, _PIECE = "it may be computed or chosen", "the model may know it", "it stands inside a longer argument"
_UNKNOWN = {"number": _CHOSEN, "date": _CHOSEN, "url": _KNOWN, "path": _KNOWN, "text": "the model's own words"}


class LineageTracker:
    """The lineage of a whole trace. Spans are added in the order of `moments`."""

    def __init__(self, spans: Iterable[Span]) -> None:
        """``spans``: all spans that will be added."""
        self._readings: dict[int, tuple[Part, list[Reading]]] = {}
        """Values read from a part, by the part's id. The part is kept, too, so that its id is not reused."""
        for part in (part for span in spans for message in _output(span) for part in message.parts):
            self._readings[id(part)] = part, _read(part)
        readings = [reading for _, readings in self._readings.values() for reading in readings]
        keys = [key for reading in readings for key in reading.value.keys]
        for reading in readings:
            if reading.whole and reading.value.kind in IDENTIFIERS:
                keys += parts_of(reading.value)
        self._index, self._definitions = SourceIndex(keys), SourceIndex(keys)
        self._sources: dict[tuple[str, str, str | None, int], Source] = {}
        self._visible = VisibleContext(self._add_source, self._definitions.add)
        self._first: dict[str, Origin] = {}
        """The first use of each ungrounded value."""
        self._used_in: set[tuple[str, bool]] = set()
        """The key of each ungrounded value, with True for a use in an answer and False for a use in a call."""

    @property
    def hidden(self) -> Mapping[str, str]:
        """The reasons why some context is not visible, each with the id of a span. A value not found is unknown then."""
        return self._visible.hidden

    def begin(self, span: Span) -> None:
        """Process the input of an agent or workflow that begins."""
        self._visible.begin(span)

    def add(self, span: Span) -> tuple[ValueUse, ...]:
        """Process a span that has ended. Returns the values that the model put into its calls and answers, in order."""
        operation = span.operation
        if isinstance(operation, (Inference, FetchResponse)):
            self._visible.end(span)
            self._visible.add_output(span, operation.output)
            return tuple(self._uses(span, None))
        # Traced before `end`, which adds this answer as a source.
        uses = tuple(self._uses(span, "the program composed this answer"))
        self._visible.end(span)
        return uses

    def matches(self, origin: Origin, use: ValueUse) -> list[Match]:
        """Return the ranges of an origin's text that contain the value of a use. Empty if the place is unknown or too long."""
        source = self._sources.get((origin.span_id, origin.place, origin.call_id, origin.part))
        return [] if source is None else find_matches(source, use)

    def locate(self, origin: Origin, use: ValueUse) -> str:
        """Return the JSON Pointer to the member of a structured origin that contains the value; else empty."""
        return next((match.pointer for match in self.matches(origin, use)), "")

    def _add_source(self, source: Source) -> None:
        self._sources.setdefault((source.span_id, source.place, source.call_id, source.part), source)
        self._index.add(source)

    def _uses(self, span: Span, reason: str | None) -> Iterator[ValueUse]:
        """Yield the values of a span's output. ``reason``: why a value not found is unknown rather than ungrounded.

        With a reason, the model's own words are skipped, since they were traced in the inference that wrote them.
        """
        for choice, message in enumerate(_output(span)):
            for position, part in enumerate(message.parts):
                spoken = refusal_as_text(part)
                if not isinstance(spoken, (Text, ToolCall)) or (reason and self._visible.history.has("own", digest(spoken))):
                    continue
                readings, call = self._readings[id(part)][1], spoken if isinstance(spoken, ToolCall) else None
                ungrounded: set[str] = set()
                for reading in readings:
                    provenance, is_first = self._trace(reading, place_of(span, reading, call), reason, ungrounded)
                    yield build_use(span, choice, position, reading, call, provenance, is_first=is_first)
                if ungrounded and call is not None:
                    self._visible.mark_ungrounded(call_key(span, choice, position, call), frozenset(ungrounded))

    def _trace(self, reading: Reading, place: Origin, reason: str | None, ungrounded: set[str]) -> tuple[Provenance, bool]:
        """Return the origin of a value, and True if this is its first ungrounded use.

        The keys of an ungrounded value are added to ``ungrounded``.
        """
        value = reading.value
        # Definitions are the last resort: a value that a message or result also contains comes from there.
        sources = self._index.find(value.keys) or self._definitions.find(value.keys)
        if sources is not None:
            return Provenance("grounded", sources[0].origin, sources[1].origin), False
        if value.kind not in IDENTIFIERS or not reading.whole:
            return Provenance("unknown", reason=reason or _UNKNOWN.get(value.kind, _PIECE)), False
        reason = reason or next(iter(self.hidden), None)
        # An identifier composed of visible parts is unknown, not made up.
        missing = [part for part in parts_of(value) if not (self._index.find((part,)) or self._definitions.find((part,)))]
        if reason or not missing:
            return Provenance("unknown", reason=reason or "its parts are visible"), False
        used = (value.keys[0], place.place == _ANSWER)
        ungrounded.update((*value.keys, missing[0]))
        is_first = used not in self._used_in
        self._used_in.add(used)
        return Provenance("ungrounded", first=self._first.setdefault(value.keys[0], place)), is_first


def _read(part: Part) -> list[Reading]:
    spoken = refusal_as_text(part)
    if isinstance(spoken, Text):
        return read_text(spoken.content)
    return read_arguments(spoken.arguments) if isinstance(spoken, ToolCall) else []


def _output(span: Span) -> tuple[Message, ...]:
    operation = span.operation
    return operation.output if isinstance(operation, (Inference, FetchResponse, AgentInvocation, Workflow)) else ()


def place_of(span: Span, reading: Reading, call: ToolCall | None) -> Origin:
    """Return the place where a model wrote a value."""
    if call is None:
        return Origin(span.span_id, _ANSWER)
    return Origin(span.span_id, f"argument {pointer(reading.path)} of {call.name}", call.id)


def build_use(
    span: Span, choice: int, position: int, reading: Reading, call: ToolCall | None, provenance: Provenance, *, is_first: bool
) -> ValueUse:
    """``call``: the call that contains the value, which is the part at ``position``; None for a value in an answer."""
    value, path = reading.value, reading.path
    part: Literal["argument", "answer"] = "answer" if call is None else "argument"
    tool, call_id = (None, None) if call is None else (call.name, call.id)
    where = (pointer(path), path, tool, call_id, choice, reading.start, reading.end, position, reading.whole, is_first)
    label = "" if call is None else _label(span, call, path)
    return ValueUse(span.span_id, part, value.content, value.kind, provenance, value.keys[0], *where, label)


def _label(span: Span, call: ToolCall, path: Path) -> str:
    """Describe the argument by names from the program's definitions. Names that the model may have made up are left out."""
    tools = span.operation.tools if isinstance(span.operation, Inference) else ()
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
