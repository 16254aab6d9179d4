"""A run: the outermost llmtrace span of this process and all below it, with the state that lives and dies with it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from llmtrace.evaluation import Evaluator
from llmtrace.model import Evaluation, FetchResponse, Inference, JsonValue, Span, ToolCall
from llmtrace.recorder.guard import report
from llmtrace.signals.user_signals import is_judging

PENDING_CALLS = 256
"""Calls of the model that wait to be run; older ones are forgotten (only the match by arguments is lost)."""


class Run:
    """The state of a run while it goes on.

    Laws: spans are evaluated in the order in which they end, at once and on the thread that ends them. The lock is held for
    steps of our own only, never across I/O or the program's code.
    """

    def __init__(self, run_id: str, evaluator: Evaluator) -> None:
        self.id = run_id
        self.evaluator = evaluator
        self.outcome: Evaluation | None = None
        """What the program said of the run's success."""
        self.outcomes: dict[str, Evaluation] = {}
        """Outcomes of spans other than the outermost one, by span id: see `outcome`."""
        self._state = evaluator.start()
        self._sequence = 0
        self._pending: deque[ToolCall] = deque(maxlen=PENDING_CALLS)
        self._lock = threading.RLock()
        self._user_lock = threading.RLock()
        """Held while the program's own signals run, so that each sees one span at a time."""
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """False in a fork: the run, with its spans and their order, belongs to the process that began it."""
        return self._process == os.getpid()

    def renew(self, evaluator: Evaluator) -> None:
        """Use another evaluator if no span has ended yet: a program under ``llmtrace run`` has its run before it says which
        quality signals it wants."""
        with self._lock:
            if self._sequence == 0:
                self.evaluator, self._state = evaluator, evaluator.start()

    def end_span(self, make: Callable[[int], Span], *, outermost: bool) -> Span:
        """Return a span that has ended with its verdicts. ``make`` builds it, given its position among the ended spans.

        Tool calls that it asks for may be run from now on. ``outermost``: also add what is only known at the end of the run.
        """
        evaluator = self.evaluator
        with self._lock:
            span = make(self._sequence)
            self._sequence += 1
            try:
                if isinstance(span.operation, (Inference, FetchResponse)):
                    for message in span.operation.output:
                        self._pending.extend(part for part in message.parts if type(part) is ToolCall)
                span = evaluator.evaluate(self._state, evaluator.validate(self._state, span))
                if outermost:
                    span = evaluator.finish(self._state, span)
            except Exception as error:  # a verdict is lost, never the span
                report(evaluator.evaluate, error)
        if evaluator.has_user_signals and not is_judging.get():
            with self._user_lock:
                span = evaluator.evaluate_with_user_signals(self._state, span, outermost=outermost)
        return span

    def outcome_of(self, span_id: str, *, outermost: bool) -> Evaluation | None:
        """Return what the program said of a span's success, once."""
        return self.outcome if outermost else self.outcomes.pop(span_id, None)

    def take_call(self, call_id: str | None) -> ToolCall | None:
        """Return the pending call of this id, which is being run now."""
        with self._lock:
            for call in self._pending:
                if call_id is not None and call.id == call_id:
                    self._pending.remove(call)
                    return call
        return None

    def match_call(self, name: str, arguments: JsonValue) -> str | None:
        """Return the id of the pending call that a direct call of this tool answers: by equal arguments, else the only one."""
        if not self._pending:
            return None
        with self._lock:
            of_name = [call for call in self._pending if call.name == name]
            equal = [call for call in of_name if call.arguments == arguments]
            match = equal[0] if equal else of_name[0] if len(of_name) == 1 else None
            if match is None:
                return None
            self._pending.remove(match)
            return match.id
