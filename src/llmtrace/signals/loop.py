"""The agent goes round in a circle: a row of tool calls comes a second time, with the same arguments and the same results.

A circle of two calls is a ping-pong, one of any length up to `LONGEST` a cycle. It is told of at the call that closes the
second turn, and at each further turn; the sources are what stood before the first one, and its first call. The same call twice
in a row is `repeated_call`. Two kinds that are no circle of equal calls: calls whose arguments differ in nothing but case,
punctuation, order of words or empty members while the result stays the same (``near_duplicate``, informational), and a model
that says, word for word, what it said last in the same conversation (``same_answer``). Calls of a tool that is declared to be
polled do not count.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmtrace.model import Evaluation, Inference, JsonValue, Span, ToolExecution
from llmtrace.signals import Signal
from llmtrace.signals._calls import SHORT, Call, alike, called, polls
from llmtrace.signals._results import failed
from llmtrace.signals._traits import EXECUTION, TEXT

LONGEST = 128
"""Calls of the longest circle that is seen; twice as many are remembered."""
NEAR = 64
"""Different results for which the last arguments are remembered, where these are short."""
OFTEN = 8
"""Places at which one call stood before that are compared."""
SENTENCE = 80
"""Characters from which an answer that comes again is no mere phrase."""


@dataclass(slots=True)
class Similar:
    arguments: JsonValue
    digest: int
    span_id: str
    count: int = 1


@dataclass(slots=True)
class State:
    number: int = 0
    spans: deque[str] = field(default_factory=lambda: deque(maxlen=2 * LONGEST + 1))
    """Of the last calls."""
    places: OrderedDict[tuple[str, int, int], deque[int]] = field(default_factory=OrderedDict)
    """By call and result: at which places they stood."""
    matching: dict[int, int] = field(default_factory=dict)
    """By distance: how many of the last calls, without a gap, equal the one so far before them."""
    similar: OrderedDict[tuple[str, int], Similar] = field(default_factory=OrderedDict)


class Loop:
    name = "loop"
    advice = "Look at what came before the first turn; Budget(repeats=) ends such a run early."
    untraced = True
    per_task = True
    looks_at = (Inference, ToolExecution)
    waits_for = EXECUTION | TEXT
    alone = TEXT

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        operation = span.operation
        if isinstance(operation, ToolExecution):
            call = called(span, operation)
            if call.arguments is None or call.result is None or polls(operation):
                return ()
            period = _turn(state, span.span_id, (operation.name, call.arguments, call.result))
            if period:
                return (self._circle(state, operation, period),)
            return () if failed(span, operation) else self._near(state, span, operation, call)
        if isinstance(operation, Inference):
            return self._same_answer(operation)
        return ()

    def _circle(self, state: State, execution: ToolExecution, period: int) -> Evaluation:
        turns = state.matching[period] // period + 1
        first = state.spans[-turns * period] if turns * period <= len(state.spans) else state.spans[0]
        before = state.spans[-turns * period - 1] if turns * period < len(state.spans) else first
        return Evaluation(
            self.name,
            "warning",
            f"the last {period} calls are turn {turns} of the same calls with the same results",
            label="ping_pong" if period == 2 else "cycle",
            evidence={"length": period, "turns": turns},
            call_id=execution.call_id,
            sources=tuple(dict.fromkeys((before, first))),
        )

    def _near(self, state: State, span: Span, execution: ToolExecution, call: Call) -> Iterable[Evaluation]:
        """Arguments that differ in trifles only from the last ones with this result."""
        if call.arguments is None or call.result is None or call.size > SHORT:
            return ()
        key = (execution.name, call.result)
        seen = state.similar.pop(key, None)
        found = state.similar[key] = Similar(execution.arguments, call.arguments, span.span_id)
        if len(state.similar) > NEAR:
            state.similar.popitem(last=False)
        if seen is not None and seen.digest != call.arguments and alike(seen.arguments, execution.arguments):
            found.count = seen.count + 1
            tool = f"`{execution.name}`" if execution.executed else "a tool"
            text = f"call {found.count} of {tool} with arguments that differ only in form, and the same result"
            return (Evaluation(self.name, "info", text, "near_duplicate", call_id=execution.call_id, sources=(seen.span_id,)),)
        return ()

    def _same_answer(self, inference: Inference) -> Iterator[Evaluation]:
        said = inference.output[0].text() if inference.output else ""
        if len(said) < SENTENCE:
            return
        for message in reversed(inference.input):
            if message.role == "assistant":
                if message.text() == said:
                    text = "the model says word for word what it said last in this conversation"
                    yield Evaluation(self.name, "warning", text, "same_answer")
                return


def _turn(state: State, span_id: str, token: tuple[str, int, int]) -> int:
    """Take in a call; gives the length of the circle of which it closes a turn, or 0."""
    place, state.number = state.number, state.number + 1
    state.spans.append(span_id)
    places = state.places.pop(token, None)
    state.places[token] = deque((place,), maxlen=OFTEN) if places is None else places
    if len(state.places) > 2 * LONGEST:
        state.places.popitem(last=False)
    if places is None:
        state.matching = {}
        return 0
    distances = [place - earlier for earlier in reversed(places)]
    places.append(place)
    before = state.matching
    state.matching = {far: before.get(far, 0) + 1 for far in distances if far <= LONGEST}
    return _shortest(state.matching)


def _shortest(matching: dict[int, int]) -> int:
    """Of the distances at which a whole turn matches now, the least; none where it is of one call, or of shorter turns."""
    nearer: list[int] = []
    for far, count in matching.items():  # the nearest first
        if far > 1 and count >= far and count % far == 0 and not any(less >= far for less in nearer):
            return far
        nearer.append(count)
    return 0


SIGNAL: Signal = Loop()
