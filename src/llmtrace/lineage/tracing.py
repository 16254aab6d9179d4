"""`Lineage`: the spans of a run in, each value that the model said out, with the place it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from llmtrace.lineage.arguments import Path, candidates, name_of
from llmtrace.lineage.characters import ATTACHED
from llmtrace.lineage.claims import claims
from llmtrace.lineage.context import RECENT_CHARACTERS
from llmtrace.lineage.definitions import Argument, argument, shows
from llmtrace.lineage.next_ids import VERSION, is_next, is_next_version, names_created
from llmtrace.lineage.passages import Places, places_of
from llmtrace.lineage.provenance import Match, Origin, Provenance, Use
from llmtrace.lineage.said import Said
from llmtrace.lineage.search import find, find_otherwise, find_words, leads_to, matches
from llmtrace.lineage.sources import Found, Source, as_text
from llmtrace.lineage.values import (
    SPECIFIC,
    Value,
    elements,
    is_chosen,
    is_invented,
    is_round,
    is_well_known,
    read_value,
)
from llmtrace.lineage.visible import Call, Visible
from llmtrace.model import (
    AgentInvocation,
    FetchResponse,
    Inference,
    JsonValue,
    Memory,
    Message,
    Operation,
    Reasoning,
    Retrieval,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Workflow,
    as_said,
    reads_as_data,
)

MOST_WAITING = 16
MOST_CLAIMS = 16
MOST_RARE = 6
"""Values of one answer that `Lineage.unsupported` looks for, and of those that stand nowhere as they are, in any form."""
_FEWEST_WORDS = 2
"""From which on an answer that a program composed states something."""
_WORDS_WITHOUT_SPACE = re.compile(f"[{ATTACHED}]")
_NONE: frozenset[str] = frozenset()


class Lineage:
    """Where every value came from, over the spans of one run in the order in which they ended."""

    def __init__(self, *, thorough: bool = True, spans: Iterable[Span] | None = None) -> None:
        """``thorough``: remember everything, trace the values of answers and plain words too, and be able to `locate` them.
        Without it only what can be made up is traced, in arguments, in bounded memory and time. ``spans``: of a trace that is
        known as a whole all that will be added; then only what these say is read out of long texts, which is quicker."""
        self._thorough = thorough
        self._waiting: list[Span] = []
        """Unless thorough: spans in which no call is said. They are looked at when one is; the last ones of a run never."""
        self._looked = thorough
        self._last: tuple[Span | None, tuple[Use, ...]] = (None, ())
        self.looked_up = False
        """Whether a tool or a retrieval brought something."""
        self._asked = False
        """Whether a model was."""
        if thorough:
            self._known = Said(spans or ())
            """What is known beforehand."""
            self._visible = Visible(bounded=False, wanted=self._known.wanted())

    @property
    def hidden(self) -> Mapping[str, str]:
        """Why some context is not visible, each with the id of the span that shows it. Where there is any, values found
        nowhere are unknown, not ungrounded."""
        self._catch_up()
        return self._visible.hidden

    def begun(self, span: Span) -> None:
        """What an agent was given when its span began. Optional, for traces that are read as a whole: by the time the span
        ends, all that happened in it is over."""
        self._catch_up()
        self._visible.begun(span)

    def add(self, span: Span) -> tuple[Use, ...]:
        """Take in a span that has ended; gives the values that the model put into its calls and its texts. Unless thorough,
        only the ungrounded ones in its calls. The span that was taken in last gives the same again: signals share this."""
        known, uses = self._last
        if known is not span:
            uses = self._taken_in(span)
            self._last = (span, uses)
        return uses

    def unsupported(self, span: Span, text: str) -> list[Value]:
        """The values that the answer of the newest span states, and that stand nowhere and follow from nothing visible; those
        that a call held before are not new. Nothing where context is hidden, or the answer states nothing."""
        stated = [claim.value for claim in islice(claims(text), MOST_CLAIMS)]
        if not stated:
            return []
        self._catch_up()
        if self._visible.hidden:
            return []
        context, known, chosen = self._visible.context, self._visible.made_up, self._visible.chosen.keys()
        news = [value for value in stated if value.key not in known and chosen.isdisjoint(value.keys)]
        rare = [value for value in news if context.find(value) is None]
        if rare and self._visible.look_again(span):
            rare = [] if self._visible.hidden else [value for value in rare if context.find(value) is None]
        return [value for value in rare[:MOST_RARE] if find_otherwise(context, value) is None]

    def _taken_in(self, span: Span) -> tuple[Use, ...]:
        self.looked_up = self.looked_up or isinstance(span.operation, (ToolExecution, Retrieval, Memory))
        if self._thorough:
            if span not in self._known:
                self._visible.context.want_everything()
            return self._add(span)
        if not _has_call(span.operation):
            self._waiting.append(span)
            if len(self._waiting) > MOST_WAITING:
                self._catch_up()
            return ()
        self._catch_up()
        return self._add(span)

    def _catch_up(self) -> None:
        if not self._looked:
            self._looked, self._visible = True, Visible(bounded=True)
        waiting, self._waiting = self._waiting, []
        for span in waiting:
            if type(span.operation) is ToolExecution:
                self._visible.ended(span)
            else:
                self._add(span)

    def _add(self, span: Span) -> tuple[Use, ...]:
        operation = span.operation
        if isinstance(operation, Inference):
            self._visible.ended(span)
            self._asked = True
            return self._said(span, operation.output, operation.tools)
        composed = self._composed(span, operation) if isinstance(operation, (AgentInvocation, Workflow)) else ()
        self._visible.ended(span)
        if isinstance(operation, FetchResponse):
            self._asked = True
            return self._said(span, operation.output, ())
        return composed

    def _composed(self, span: Span, operation: AgentInvocation | Workflow) -> tuple[Use, ...]:
        """The answer of an agent that is no text of its model: the program composed it, or its model is not recorded. Data (a
        framework's record of the run, with its token counts and times) claim nothing: what the model said in it was judged
        where the model said it."""
        if not self._thorough:
            return ()
        unasked = None if self._asked else "no call of a model was recorded"
        return tuple(
            use
            for choice, message in enumerate(operation.output)
            for position, part in enumerate(message.parts)
            if isinstance(part, Text) and not self._visible.history.is_own(part)
            for use in self._answer(span, choice, position, part.content, unasked or _excuse_of(part.content))
        )

    def _said(self, span: Span, output: Sequence[Message], tools: Sequence[ToolDefinition]) -> tuple[Use, ...]:
        uses: list[Use] = []
        for choice, message in enumerate(output):
            for position, said in enumerate(message.parts):
                if type(said) is ToolCall:
                    self._visible.history.keep_own(said)
                    uses += self._call(span, choice, said, tools)
                    continue
                part = as_said(said)
                self._visible.history.keep_own(part)
                if isinstance(part, Text):
                    uses += self._answer(span, choice, position, part.content) if self._thorough else ()
                elif not isinstance(part, Reasoning):
                    self._visible.opaque(span, part, f"answer {choice + 1}")
        return tuple(uses)

    def _call(self, span: Span, choice: int, call: ToolCall, tools: Sequence[ToolDefinition]) -> Sequence[Use]:
        call_id = call.id if call.id is not None else f"{span.span_id}/{choice}/{call.name}"
        values = self._known.values(call) if self._thorough else self._found_nowhere(span, call)
        if not values:
            self._visible.remember_call(call_id, Call(call.name, _NONE))
            return ()
        uses: list[Use] = []
        made_up: set[str] = set()
        trace = self._trace if self._thorough else self._trace_new
        definition = _definition(call, tools)
        for path, piece, start, value in values:
            said = _Said(span.span_id, choice, argument(definition, call.name, path), call, definition)
            provenance = trace(said, value)
            if provenance is None:
                continue
            if provenance.status == "ungrounded":
                made_up.update(value.keys)
            uses.append(said.use(piece, value, provenance, start))
        self._visible.remember_call(call_id, Call(call.name, frozenset(made_up) if made_up else _NONE))
        return uses

    def _found_nowhere(self, span: Span, call: ToolCall) -> list[tuple[Path, JsonValue, int, Value]]:
        """The quick look of the live lineage: of these values those that can be made up and are found nowhere. What stands as
        it is in something new need not even be read."""
        context = self._visible.context
        found: list[tuple[Path, JsonValue, int, Value]] = []
        for path, content in candidates(call.arguments):
            if type(content) is str and context.holds_as_written(content):
                continue
            name = path[-1]
            if type(name) is not str:
                name = name_of(path)
            listed = elements(content) if type(content) is str and ("," in content or ";" in content) else None
            for piece in listed or (content,):
                value = read_value(piece, name)
                if value is None or value.kind not in SPECIFIC or (value.kind == "number" and is_chosen(name)):
                    continue
                if find(context, value) is None and not (self._visible.look_again(span) and find(context, value)):
                    start = content.index(piece) if listed and isinstance(content, str) and isinstance(piece, str) else 0
                    found.append((path, piece, start, value))
        return found

    def _answer(self, span: Span, choice: int, position: int, text: str, excuse: str | None = None) -> Iterator[Use]:
        for value, start, _ in claims(text):
            said = _Said(span.span_id, choice, excuse=excuse)
            yield said.use(value.content, value, self._trace(said, value), start, position)

    def _trace(self, said: _Said, value: Value) -> Provenance:
        if said.may_choose(value):
            return Provenance("unknown", reason="a value that the tool's schema lists")
        if value.kind not in SPECIFIC:
            return self._of_words(value)
        if value.kind == "number" and is_chosen(said.name):
            standing = None if is_round(value) else self._visible.context.find(value)
            return _grounded(standing) if standing else Provenance("unknown", reason="a number that a caller sets")
        found = find(self._visible.context, value)
        if found is not None:
            return _grounded(found)
        made_up = self._trace_new(said, value)
        if made_up is not None:
            return made_up
        reason = self._excuse(said, value) or next(iter(self._visible.hidden), None)
        return Provenance("unknown", reason=reason) if reason is not None else Provenance("grounded", "given")

    def _trace_new(self, said: _Said, value: Value) -> Provenance | None:
        """Of a value that is found nowhere: where it was made up; None where it need not be."""
        visible, key = self._visible, value.keys[0] if value.keys else value.key
        first = visible.made_up.get(key)
        if first is not None:
            return Provenance("ungrounded", "", None, None, first)
        if visible.hidden:
            return None
        if self._excuse(said, value) is not None:
            if said.argument is not None:
                visible.remember_chosen((*value.keys, *(f"@+{day.isoformat()[5:]}" for day in value.dates)))
            return None
        example = said.definition is not None and shows(said.definition, value)
        if example and value.kind == "number":
            return None
        place = said.place
        visible.remember_made_up(key, place)
        return Provenance("ungrounded", "from_example" if example else "", None, None, place)

    def _excuse(self, said: _Said, value: Value) -> str | None:
        """Why a value that is found nowhere need not be made up."""
        excuse, visible = said.excuse(value), self._visible
        if excuse is not None:
            return excuse
        if value.kind == "identifier" and self._is_next(said, value.text):
            return "the next one of those that are visible"
        if said.call is not None and value.dates and leads_to(visible.context, value, as_text(said.call.arguments)):
            return "a day that the other arguments lead to"
        return "a value that the model chose before" if not visible.chosen.keys().isdisjoint(value.keys) else None

    def _is_next(self, said: _Said, identifier: str) -> bool:
        visible = self._visible
        if VERSION.fullmatch(identifier.strip()):
            recent = visible.context.recent()
            return any(is_next_version(identifier, source.text[:RECENT_CHARACTERS]) for source in recent)
        if said.call is None or not names_created(said.name, said.call.name):
            return False
        return is_next(identifier, lambda text, key: key in visible.chosen or visible.context.stands(text))

    def _of_words(self, value: Value) -> Provenance:
        """Plain words and texts: where they stand, if they do. A model may always choose words of its own."""
        found = find_words(self._visible.context, value)
        if found is not None:
            return _grounded(found)
        return Provenance("unknown", reason="words of the model's own")

    def is_own(self, message: Message) -> bool:
        """True if a model said all of this before in the run, whoever it is sent as. Only of a thorough lineage."""
        return all(self._visible.history.is_own(part) for part in message.parts)

    def matches(self, origin: Origin, use: Use) -> tuple[Match, ...]:
        """The characters of an origin of a use (or of one of its `Provenance.inputs`) that hold its value, with those of the
        use. Several where only parts stand there; none where the place is not known. Only of a thorough lineage."""
        source = self._visible.sources.get((origin.span_id, origin.place, origin.call_id, origin.part))
        places = None if source is None else places_of(source)
        if places is None:
            return ()
        if origin.value is not None:
            return self._of_input(places, origin.value, use)
        value = _value_of(use)
        return () if value is None else tuple(matches(places, value, use.start))

    def _of_input(self, places: Places, content: JsonValue, use: Use) -> tuple[Match, ...]:
        """A piece of a value that was joined stands in it; what it was computed from does not."""
        start, end = use.start, use.end
        if isinstance(content, str) and use.provenance.rule in ("joined", "range"):
            place = next((place for _, _, place in places.of_words(content)), None)
            at = str(use.value).find(content)
            start, end = (start + at, start + at + len(content)) if at >= 0 else (start, end)
        else:
            place = places.of_number(content) if isinstance(content, (int, float)) else None
        return () if place is None else (place.match(start, end),)

    def locate(self, origin: Origin, use: Use) -> str:
        """Where inside a structured origin a value stands, as JSON Pointer; else empty. Only of a thorough lineage."""
        return next((match.pointer for match in self.matches(origin, use)), "")


def _value_of(use: Use) -> Value | None:
    """As it was read: a date in an answer may lack what `read_value` asks for."""
    if use.part == "answer":
        return next((claim.value for claim in claims(str(use.value))), None) or read_value(use.value)
    return read_value(use.value, name_of(use.path))


def _excuse_of(answer: str) -> str | None:
    """Why nothing is said of an answer that is no text of the model; None where it is words: those state something."""
    # a count, an id, a word: what a function gives back
    bare = len(answer.split(None, 1)) < _FEWEST_WORDS and (answer.isascii() or not _WORDS_WITHOUT_SPACE.search(answer))
    return "data that the program put together" if bare or reads_as_data(answer) else None


def _definition(call: ToolCall, tools: Sequence[ToolDefinition]) -> ToolDefinition | None:
    for tool in tools:
        if tool.name == call.name:
            return tool
    return None


def _has_call(operation: Operation) -> bool:
    """True where the model says a call: then what came before has to be known."""
    if type(operation) is not Inference and not isinstance(operation, (Inference, FetchResponse)):
        return False
    for message in operation.output:
        for part in message.parts:
            if type(part) is ToolCall:
                return True
    return False


def _grounded(found: Found) -> Provenance:
    if not found.rule:
        return Provenance("grounded", "given", _origin(found.first), _origin(found.last))
    inputs = tuple(Origin(source.span_id, source.place, source.call_id, source.part, term) for source, term in found.inputs)
    return Provenance("grounded", "derived", _origin(found.first), _origin(found.last), rule=found.rule, inputs=inputs)


def _origin(source: Source | None) -> Origin | None:
    return Origin(source.span_id, source.place, source.call_id, source.part) if source is not None else None


class _Said:
    """Where the model says a value: an argument of a call, or an answer."""

    __slots__ = ("_excuse", "_place", "argument", "call", "choice", "definition", "span_id")

    def __init__(
        self,
        span_id: str,
        choice: int,
        argument: Argument | None = None,
        call: ToolCall | None = None,
        definition: ToolDefinition | None = None,
        excuse: str | None = None,
    ) -> None:
        """``excuse``: why nothing that is said here need be made up."""
        self.span_id, self.choice, self.argument, self.call, self.definition = span_id, choice, argument, call, definition
        self._excuse = excuse
        self._place: Origin | None = None

    @property
    def name(self) -> str:
        return "" if self.argument is None else self.argument.name

    @property
    def place(self) -> Origin:
        """Made only for what is found nowhere; the rest is never told of."""
        if self._place is None:
            place = "answer" if self.argument is None else self.argument.place
            self._place = Origin(self.span_id, place, None if self.call is None else self.call.id)
        return self._place

    def use(self, content: JsonValue, value: Value, provenance: Provenance, start: int = 0, text_part: int = 0) -> Use:
        first, argument, call, key = provenance.first, self.argument, self.call, value.keys[0] if value.keys else value.key
        here = first is not None and (first is self._place or first == self.place)
        end = start + len(value.text)
        if argument is None or call is None:
            where = ("", (), None, None, self.choice, start, end, text_part, here)
            return Use(self.span_id, "answer", content, value.kind, provenance, key, *where)
        told = (argument.pointer, argument.path, call.name, call.id, self.choice, start, end, 0, here, argument.told)
        return Use(self.span_id, "argument", content, value.kind, provenance, key, *told)

    def may_choose(self, value: Value) -> bool:
        return self.argument is not None and self.argument.may_choose(value.content)

    def excuse(self, value: Value) -> str | None:
        """The same, as far as the value and the tool's definition say."""
        kind, argument, call = value.kind, self.argument, self.call
        if kind == "number" and is_round(value):
            return "a round number"
        if kind == "path" and is_well_known(value.text):
            return "a path that every system has"
        if argument is None or call is None:
            return self._excuse
        if is_invented(kind, argument.name, call.name):
            return "a name that a caller invents"
        return "a value that the tool's schema lists" if argument.listing and argument.may_choose(value.content) else None
