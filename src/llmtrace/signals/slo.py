"""A span took longer than the objective that it is under allows (see `llmtrace.slo`).

The objective stands on the span. The time to the first token of an agent or workflow is that of the first chunk of any model
call below it, which is handed up as spans end: children end before their parents.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from llmtrace.model import Evaluation, Inference, Span
from llmtrace.semconv import SLO_NAME, SLO_P50, SLO_P95, SLO_P99, SLO_TIME_TO_FIRST_TOKEN
from llmtrace.signals import Signal
from llmtrace.signals._traits import ATTRIBUTES, STREAMED

WAITING = 1024
"""Open spans for which the first chunk below them is remembered; the one remembered longest is forgotten first."""

_DURATIONS = ((SLO_P50, "p50", "half of"), (SLO_P95, "p95", "95 % of"), (SLO_P99, "p99", "99 % of"))

State: TypeAlias = "OrderedDict[str, int]"
"""By the id of an open span: when the first chunk below it came, in nanoseconds since the Unix epoch."""


class Slo:
    name = "slo"
    advice = "See with llmtrace stats what took the time: the queue, a long answer, attempts."
    wakes_on = ATTRIBUTES | STREAMED

    def start(self) -> State:
        return OrderedDict()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        first = state.pop(span.span_id, None) if state else None
        operation = span.operation
        if type(operation) is Inference and operation.time_to_first_chunk is not None:
            first = span.start + round(operation.time_to_first_chunk * 1e9)
        if first is not None and span.parent_id is not None:
            state[span.parent_id] = min(first, state.get(span.parent_id, first))
            if len(state) > WAITING:
                state.popitem(last=False)
        return tuple(_breaches(span, first)) if SLO_NAME in span.attributes else ()


def _breaches(span: Span, first: int | None) -> Iterator[Evaluation]:
    for attribute, label, share in _DURATIONS:
        if (found := _breach(span, attribute, label, span.duration, f"took {{:.3g}} s; {share}")) is not None:
            yield found
    waited = None if first is None else (first - span.start) / 1e9
    found = _breach(span, SLO_TIME_TO_FIRST_TOKEN, "ttft", waited, "first token after {:.3g} s; 99 % of")
    if found is not None:
        yield found


def _breach(span: Span, attribute: str, label: str, took: float | None, words: str) -> Evaluation | None:
    allowed, whose = span.attributes.get(attribute), span.attributes.get(SLO_NAME)
    if took is None or not isinstance(allowed, (int, float)) or isinstance(allowed, bool) or took <= allowed:
        return None
    text = f"{words.format(took)} `{whose}` are to take at most {allowed:g} s"
    return Evaluation(SIGNAL.name, "warning", text, label=label, score=took)


SIGNAL: Signal = Slo()
