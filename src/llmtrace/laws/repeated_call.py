"""The same call brought the same result, or failed alike, three times in one turn of the user and one conversation
(`same_result`); the second time is `twice`. `cycle`: two to four different calls came three times in a row.

* Labels: `same_result`, `cycle`: warning; `twice`: info
* On: the call: its execution, or the inference that got its result.
* Bad: `look_up(W1)` brings the same result three times.
* Good: The result changed, or another tool changed something; the user spoke; the program began its next task; agents work side
  by side; the tool is polled; a person rejected the call; a key is pressed again, or a page scrolled.

A tool is polled if it has `@tool(polls=True)`, or a word such as `status` or `wait` in its name. `Budget(repeats=…)` ends a
run that repeats itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.laws.base import Signal
from llmtrace.model import Evaluation, Inference, Severity, Span, ToolExecution
from llmtrace.reading.call_log import Call, result_digest
from llmtrace.reading.message_history import remember
from llmtrace.reading.run_evidence import RunEvidence

MOST_CALLS = 512
"""Most different calls, and most conversations, that are kept; beyond it, the oldest is dropped."""
OFTEN = 3
"""Number of equal calls, or of equal rounds of calls, that is reported as a warning."""
LONGEST_ROUND = 4


@dataclass(slots=True)
class Repeat:
    tool: str
    result: int
    first_span: str
    newest_span: str
    count: int = 1


@dataclass(slots=True)
class State:
    run: RunEvidence
    task: int = 0
    turn: int = 0
    repeats: dict[int, Repeat] = field(default_factory=dict)
    """The calls of this turn, by the digest of conversation, tool and arguments."""
    newest: dict[int, deque[tuple[int, str]]] = field(default_factory=dict)
    """The newest calls of this turn, by conversation: digest and span id."""


class RepeatedCall(Signal[State]):
    name = "repeated_call"
    new_state = State
    advice = "Look at what came before the first of them; Budget(repeats=) ends such a run early."
    looks_at = (Inference, ToolExecution)
    needs = "results"

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        if state.run.tasks.number != state.task:
            state.task, state.turn = state.run.tasks.number, -1  # any next call counts as a new turn, and clears the state
        return [finding for call in state.run.completed if (finding := self._judge(state, call))]

    def _judge(self, state: State, call: Call) -> Evaluation | None:
        if state.repeats and call.is_change and call.failed is False:  # earlier results of other tools may be outdated
            for old in [key for key, repeat in state.repeats.items() if repeat.tool != call.tool]:
                del state.repeats[old]
        result = result_digest(call)
        if result is None or not call.has_arguments or call.is_polling or call.may_come_again or call.turn < state.turn:
            return None
        if call.turn > state.turn:
            state.turn = call.turn
            state.repeats.clear()
            state.newest.clear()
        key, span_id = hash((call.conversation, call.effect_key)), call.span_id
        newest = state.newest.get(call.conversation) or deque(maxlen=OFTEN * LONGEST_ROUND)
        newest.append((key, span_id))
        remember(state.newest, call.conversation, newest, MOST_CALLS)
        before = state.repeats.get(key)
        repeat = before if before is not None and before.result == result else Repeat(call.tool, result, span_id, span_id, 0)
        repeat.count += 1
        newest_span, repeat.newest_span = repeat.newest_span, span_id
        remember(state.repeats, key, repeat, MOST_CALLS)
        length = _round_length(newest)
        if length:
            first = newest[-OFTEN * length][1]
            newest.clear()  # so that a cycle is reported again only after three more rounds
            text = f"the last {length} calls came for the {OFTEN}rd time in a row"
            return self._evaluation(call, "cycle", text, length, (first,))
        if repeat.count == 1:
            return None
        sources = tuple(dict.fromkeys((repeat.first_span, newest_span)))
        result_kind = "failure" if call.failed else "result"
        text = f"call {repeat.count} of {call.quoted_name} with the same arguments and the same {result_kind}"
        return self._evaluation(call, "twice" if repeat.count < OFTEN else "same_result", text, repeat.count, sources)

    def _evaluation(self, call: Call, label: str, text: str, count: int, sources: tuple[str, ...]) -> Evaluation:
        severity: Severity = "info" if label == "twice" else "warning"
        return Evaluation(self.name, severity, text, label, float(count), call_id=call.id, sources=sources)


def _round_length(newest: deque[tuple[int, str]]) -> int:
    """Return the length of the round of calls that came three times in a row at the end; 0 without such a round."""
    if len(newest) < 2 * OFTEN:
        return 0
    keys = [key for key, _ in newest]
    for length in range(2, LONGEST_ROUND + 1):
        last = keys[-length:]
        if len(keys) >= OFTEN * length and len(set(last)) > 1 and keys[-OFTEN * length :] == last * OFTEN:
            return length
    return 0


SIGNAL = RepeatedCall()
