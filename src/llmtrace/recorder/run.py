"""A run: the outermost llmtrace span of this process and all spans below it, and the state that lives as long as the run."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import context as otel_context

from llmtrace.codec import json_text
from llmtrace.laws.user_signals import is_judging
from llmtrace.locks import lazy_property
from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    FetchResponse,
    Inference,
    JsonValue,
    Receipt,
    Span,
    ToolCall,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.recorder import keys
from llmtrace.recorder.guard import report

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator
    from llmtrace.reading.calls import Calls
    from llmtrace.reading.timeline import Timeline

T = TypeVar("T")

logger = logging.getLogger("llmtrace")

MOST_CHANGES = 10_000
"""Different changes that are counted in one run."""
TURN_SECONDS = 1.0
"""Seconds that an ended span waits until the program's own signals have judged the spans before it."""


class Run:
    """The state of a run that has not ended.

    Laws: spans are evaluated in the order in which they end, at once, on the thread that ends them. No lock is held during I/O
    or while the program's code runs.
    """

    def __init__(self, run_id: str, evaluator: Evaluator | None) -> None:
        """``evaluator`` None: spans are numbered and recorded, but not evaluated."""
        self.id = run_id
        self.evaluator = evaluator
        self.outcome: Evaluation | None = None
        """The run's success as the program reported it."""
        self.outcomes: dict[str, Evaluation] = {}
        """Outcomes of spans other than the outermost one, by span id: see `outcome`."""
        self.checkpoint: tuple[str, JsonValue] | None = None
        """Name and state of the last checkpoint."""
        self.is_over = False
        """True once the verdict on the run was made."""
        self._reads = 0
        self._changes: dict[str, int] = {}
        self._state: Any = None
        self._sequence = 0
        self._begin()
        self._lock = threading.RLock()
        self._turns: _Turns | None = None
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """False in a forked child: the run belongs to the process that began it."""
        return self._process == os.getpid()

    def renew(self, evaluator: Evaluator | None) -> None:
        """Use another evaluator if no span has ended yet: under ``llmtrace run`` the run exists before the program chooses its
        quality signals."""
        with self._lock:
            if self._sequence == 0:
                before, self.evaluator, self._state = self._state, evaluator, None
                self.__dict__.pop("_calls", None)
                self._begin()
                if before is not None and evaluator is not None:
                    self._state.verdict = before.verdict  # of runs below this one, which have ended already

    def _begin(self) -> None:
        if self.evaluator is not None:
            self._state = self.evaluator.start()

    @lazy_property
    def _calls(self) -> Calls:
        """The calls of the model, each joined with its execution."""
        from llmtrace.reading.calls import Calls  # most runs have imported it with their evaluator

        return Calls(bounded=True) if self._state is None else self._state.timeline.calls

    def begin_span(self, span: Span) -> None:
        """Note an agent or workflow that begins."""
        if self.evaluator is not None and isinstance(span.operation, (AgentInvocation, Workflow)):
            with self._lock:
                self._state.timeline.begin(span)

    def end_span(self, span: Span, *, outermost: bool) -> Span:
        """Return a span that has ended with the run's id, its position among the ended spans, and its verdicts.

        Tool calls that it asks for may be run from now on. ``outermost``: also add what is only known at the end of the run.
        """
        evaluator = self.evaluator
        with self._lock:
            span = replace(span, run_id=self.id, sequence=self._sequence)
            self._sequence += 1
            try:
                if evaluator is None or not evaluator.laws:
                    self._request_calls(span)
                if evaluator is not None:
                    span = evaluator.evaluate(self._state, evaluator.validate(self._state, span))
                    if outermost:
                        span = evaluator.finish(self._state, span)
            except Exception as error:  # a verdict is lost, never the span
                report(Run.end_span, error)
        return span

    def judge(self, span: Span, *, outermost: bool) -> Span:
        """Evaluate a span with the program's own signals, in the order in which the spans ended.

        No lock is held while a signal runs. A span waits for those before it, `TURN_SECONDS` at most. Spans that a signal
        itself causes are not evaluated.
        """
        evaluator, place = self.evaluator, span.sequence
        if evaluator is None or not evaluator.has_user_signals or place is None:
            return span
        with self._lock:
            turns = self._turns = self._turns or _Turns()
        try:
            if not (is_judging.get() or otel_context.get_value(keys.JUDGING)) and turns.wait(place):
                token = otel_context.attach(otel_context.set_value(keys.JUDGING, True))
                try:
                    span = evaluator.evaluate_with_user_signals(self._state, span, outermost=outermost)
                finally:
                    otel_context.detach(token)
        finally:
            turns.end(place)
        return span

    def conclude(self, span: Span, *, outermost: bool) -> Span:
        """Add the last verdicts to a span. The outermost span also gets the run's health and findings, to search by."""
        evaluator = self.evaluator
        with self._lock:
            self.is_over = self.is_over or outermost
            if evaluator is None:
                return span
            try:
                return evaluator.conclude(self._state, span, outermost=outermost)
            except Exception as error:
                report(Run.conclude, error)
        return span

    def absorb(self, outermost: Span) -> None:
        """Add the verdict on a run below this one, by its outermost span, which has ended."""
        if self._state is not None:
            with self._lock:
                self._state.verdict.absorb(outermost.attributes)

    def read_timeline(self, read: Callable[[Timeline], T]) -> T | None:
        """Return ``read(timeline)`` for the spans that have ended; None if the run is not evaluated or ``read`` raises."""
        if self.evaluator is None or not self.evaluator.laws:
            return None
        with self._lock:
            try:
                return read(self._state.timeline)
            except Exception as error:
                report(Run.read_timeline, error)
        return None

    def may_read(self, limit: int) -> bool:
        """Count one read of a change, and return True if the run has not read ``limit`` times before."""
        with self._lock:
            self._reads += 1
            return self._reads <= limit

    def count_change(self, tool: str, arguments: JsonValue) -> Callable[[], int]:
        """Note a change that begins. Returns a function that returns how often the run has begun it; one of more than
        `MOST_CHANGES` counts once."""
        key = blake2b(json_text.write([tool, arguments]).encode("utf-8", "replace"), digest_size=16).hexdigest()
        with self._lock:
            if key in self._changes or len(self._changes) < MOST_CHANGES:
                self._changes[key] = self._changes.get(key, 0) + 1
        return lambda: self._changes.get(key, 1)

    def settle_receipt(self, span_id: str, receipt: Receipt) -> bool:
        """Use the final receipt of an execution that has ended. Returns True if the verdict on the run was made without it."""
        with self._lock:
            call = None if self._state is None else self._state.timeline.calls.of_execution(span_id)
            span = None if call is None else call.execution
            if call is not None and span is not None and isinstance(span.operation, ToolExecution):
                call.execution = replace(span, operation=replace(span.operation, receipt=receipt))
            return self.is_over

    def take_call(self, name: str, arguments: JsonValue, call_id: str | None = None) -> ToolCall | None:
        """Return the call of the model that is run now; see `Calls.match`."""
        with self._lock:
            return self._calls.take(name, arguments, call_id)

    def join_call(self, operation: ToolExecution) -> ToolExecution:
        """Return the execution with the id of the model's call that it answers, and with its arguments if it has none.

        An id that the model did not give comes from the framework (Agno).
        """
        name, arguments, call_id = operation.name, operation.arguments, operation.call_id
        with self._lock:
            call = self._calls.take(name, arguments, call_id)
        if call is None or call.id is None:
            return operation
        if call.id != call_id:
            return replace(operation, call_id=call.id, inferred=True)
        return (
            replace(operation, arguments=call.arguments, inferred=True)
            if arguments is None and call.name == name
            else operation
        )

    def _request_calls(self, span: Span) -> None:
        """Note the calls of a span for a run without laws, which reads no timeline."""
        if isinstance(span.operation, (Inference, FetchResponse)):
            for choice, message in enumerate(span.operation.output):
                for number, part in enumerate(message.parts):
                    if type(part) is ToolCall:
                        self._calls.request(span, 0, part, (choice, number), ())


class _Turns:
    """Lets the spans of a run be judged by the program's own signals one after the other, in the order in which they ended."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        """Position of the next span to judge."""
        self._judged: set[int] = set()
        """Later positions that are done already."""
        self._is_stuck = False

    def wait(self, place: int) -> bool:
        """Wait until the spans before ``place`` are judged. Returns False if that takes too long, now or before."""
        with self._changed:
            is_due = self._changed.wait_for(lambda: self._next >= place, 0 if self._is_stuck else TURN_SECONDS)
            if not is_due and not self._is_stuck:
                logger.warning(
                    "llmtrace: a quality signal of the program has taken more than %g s; spans that end meanwhile are not "
                    "judged by the program's own signals",
                    TURN_SECONDS,
                )
            self._is_stuck = not is_due
            return is_due

    def end(self, place: int) -> None:
        """Note that the span at ``place`` is done: judged, or skipped."""
        with self._changed:
            self._judged.add(place)
            while self._next in self._judged:
                self._judged.remove(self._next)
                self._next += 1
            self._changed.notify_all()
