"""A span took longer than its objective allows. `ttft`: the first token of a model call below the span came too late. The
token's time is passed up from child to parent, since children end first.

* Labels: `p50`, `p95`, `p99`, `ttft`: warning
* On: the slow span.
* Bad: An agent under `llmtrace.slo("support", p95=2.0)` takes 3 seconds.
* Good: The same agent takes 2 seconds; a span without an objective.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from llmtrace.laws.base import Law
from llmtrace.model import Evaluation, Inference, Span
from llmtrace.reading.message_history import remember
from llmtrace.reading.timeline import Timeline
from llmtrace.semconv import SLO_NAME, SLO_P50, SLO_P95, SLO_P99, SLO_TIME_TO_FIRST_TOKEN

MOST_OPEN = 1024
"""Most open spans for which the first chunk below them is kept; beyond it, the oldest is dropped."""

_BOUNDS = (
    (SLO_P50, "p50", "took {:.3g} s; half of"),
    (SLO_P95, "p95", "took {:.3g} s; 95 % of"),
    (SLO_P99, "p99", "took {:.3g} s; 99 % of"),
    (SLO_TIME_TO_FIRST_TOKEN, "ttft", "first token after {:.3g} s; 99 % of"),
)

FirstChunks: TypeAlias = dict[str, int]
"""Time of the first chunk below an open span, by the span's id, in nanoseconds since the Unix epoch."""


class Slo(Law[FirstChunks]):
    name = "slo"
    advice = "See with llmtrace stats what took the time: the queue, a long answer, attempts."

    def start(self, timeline: Timeline) -> FirstChunks:  # noqa: ARG002
        return {}

    def step(self, state: FirstChunks, span: Span) -> Iterable[Evaluation]:
        first = state.pop(span.span_id, None) if state else None
        operation = span.operation
        if isinstance(operation, Inference) and operation.time_to_first_chunk is not None:
            first = span.start + round(operation.time_to_first_chunk * 1e9)
        if first is not None and span.parent_id is not None:
            remember(state, span.parent_id, min(first, state.get(span.parent_id, first)), MOST_OPEN)
        return tuple(_breaches(span, first)) if SLO_NAME in span.attributes else ()


def _breaches(span: Span, first: int | None) -> Iterator[Evaluation]:
    waited = None if first is None else (first - span.start) / 1e9
    for attribute, label, words in _BOUNDS:
        allowed, took = span.attributes.get(attribute), waited if label == "ttft" else span.duration
        if took is not None and isinstance(allowed, (int, float)) and not isinstance(allowed, bool) and took > allowed:
            text = f"{words.format(took)} `{span.attributes.get(SLO_NAME)}` are to take at most {allowed:g} s"
            yield Evaluation(SIGNAL.name, "warning", text, label=label, score=took)


SIGNAL = Slo()
