"""The same thing is tried over and over although it fails: by the client, by the program, or by the model.

A client that repeats its requests (``client``) is seen by the number of requests behind one call. A model whose calls fail
(``model``), and a tool that fails whatever it is called with (``tool``), by failures in a row, with no success between. Told of
at the third, the sixth, and every tenth. A tool that fails three times is informational: who works with commands tries some.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from llmtrace.model import CANCELLED, Embedding, Evaluation, Inference, Severity, Span, ToolExecution, ending
from llmtrace.signals import Signal
from llmtrace.signals._results import failed
from llmtrace.signals._traits import FAILED, RETRIED, STORM

IN_A_ROW = 3
MANY = 6
NAMES = 64
"""Tools and models that are remembered; the one not seen for longest is forgotten first."""


@dataclass(slots=True)
class Failing:
    count: int
    first: str


State: TypeAlias = "OrderedDict[tuple[str, str], Failing]"
"""By kind and name, what failed when it was last called."""


class RetryStorm:
    name = "retry_storm"
    advice = "Wait longer between attempts and give up after a few; have the tool say what it needs."
    untraced = True
    looks_at = (Inference, Embedding, ToolExecution)
    wakes_on = FAILED | RETRIED

    def start(self) -> State:
        return OrderedDict()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        operation = span.operation
        if isinstance(operation, ToolExecution):
            bad = bool(failed(span, operation))
            if not bad and not state:
                return ()
            times = self._count(state, span, ("tool", operation.name), bad)
            tool = f"`{operation.name}`" if operation.executed else "a tool"
            return self._storm(times, "tool", f"{tool} failed {{}} times in a row", operation.call_id)
        if isinstance(operation, (Inference, Embedding)):
            return self._of_model(state, span, operation)
        return ()

    def _of_model(self, state: State, span: Span, operation: Inference | Embedding) -> Iterable[Evaluation]:
        bad = span.failure is not None
        if span.failure is not None and ending(span.failure) == CANCELLED:
            return ()
        attempts = operation.attempts or 0
        if attempts >= STORM:
            text = f"the client sent {attempts} requests for this call"
            return (Evaluation(self.name, "warning", text, "client", score=float(attempts)),)
        if not bad and not state:
            return ()
        times = self._count(state, span, ("model", operation.request_model or ""), bad)
        return self._storm(times, "model", "calls of this model failed {} times in a row", None)

    def _count(self, state: State, span: Span, key: tuple[str, str], bad: bool) -> Failing | None:
        before = state.pop(key, None)
        if not bad:
            return None
        now = state[key] = Failing(1, span.span_id) if before is None else Failing(before.count + 1, before.first)
        if len(state) > NAMES:
            state.popitem(last=False)
        return now

    def _storm(self, times: Failing | None, label: str, text: str, call_id: str | None) -> Iterable[Evaluation]:
        if times is None or not (times.count in (IN_A_ROW, MANY) or times.count % 10 == 0):
            return ()
        severity: Severity = "info" if label == "tool" and times.count < MANY else "warning"
        found = Evaluation(
            self.name, severity, text.format(times.count), label, float(times.count), call_id=call_id, sources=(times.first,)
        )
        return (found,)


SIGNAL: Signal = RetryStorm()
