"""A run: the outermost llmtrace span of this process and all below it, with the state that lives and dies with it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from llmtrace.evaluation import Evaluator
from llmtrace.model import Evaluation, FetchResponse, Inference, JsonValue, Span, ToolCall, replace
from llmtrace.recorder.guard import guard, report

_Lock = type(threading.RLock())
PENDING_CALLS = 256
"""Calls of the model that wait to be run; older ones are forgotten (only the match by arguments is lost)."""


class Run:
    """What is known of a run while it goes on. Its lock is held for steps of our own, never across I/O or user code."""

    def __init__(self, run_id: str, evaluator: Evaluator) -> None:
        self.id = run_id
        self.outcome: Evaluation | None = None
        self.told: dict[str, Evaluation] = {}
        """Outcomes of spans other than the outermost one, by span: see `outcome`."""
        self.waiting: deque[Callable[[], object]] = deque()
        """What is deferred, in its order: see `deferred`."""
        self.evaluator = evaluator
        self._turn = _Lock()
        self._catching_up = False
        self._state = evaluator.start()
        self._sequence = 0
        self._pending: deque[ToolCall] = deque(maxlen=PENDING_CALLS)
        self._lock = _Lock()  # reentrant: the collector may close a generator, and end its span, while we are in here
        self._process = os.getpid()

    @property
    def is_here(self) -> bool:
        """False in a fork: the run, with its spans and their order, is the process's that began it."""
        return self._process == os.getpid()

    def renew(self, evaluator: Evaluator) -> None:
        """Be judged by another evaluator, as long as nothing was judged: a program under ``llmtrace run`` has its run before it
        says which quality signals it wants."""
        with self._lock:
            if self._sequence == 0:
                self.evaluator, self._state = evaluator, evaluator.start()

    def catch_up(self) -> None:
        """Do what is deferred, or wait until another thread has. What is deferred comes through here itself, and goes on; so
        does a span that the collector ends while this very thread is in a step. A fork leaves it to its parent."""
        if not self.waiting and not self._catching_up:
            return
        if not self.is_here or self._lock._is_owned():  # type: ignore[attr-defined]
            return
        with self._turn:
            if self._catching_up:
                return
            self._catching_up = True
            try:
                while self.waiting:
                    guard(self.waiting.popleft())
            finally:
                self._catching_up = False

    def step(self, make: Callable[[int], Span], *, outermost: bool) -> Span:
        """Evaluate a span that has ended; the outermost one also gets what is only known at the end. ``make`` makes it, given
        its place in the run."""
        self.catch_up()
        with self._lock:
            span = make(self._sequence)
            self._sequence += 1
            try:
                if isinstance(span.operation, (Inference, FetchResponse)):
                    for message in span.operation.output:
                        self._pending.extend([part for part in message.parts if type(part) is ToolCall])
                span = self.evaluator.step(self._state, span, outermost=outermost)
                if outermost:
                    span = self.evaluator.finish(self._state, span)
            except Exception as error:  # a verdict is lost, never the span
                report(self.evaluator.step, error)
        outcome = self.outcome if outermost else self.told.pop(span.span_id, None) if self.told else None
        return span if outcome is None else replace(span, evaluations=(*span.evaluations, outcome))

    def answered(self, call_id: str | None) -> ToolCall | None:
        """The call of this id is being run: it is pending no more."""
        self.catch_up()
        with self._lock:
            for call in self._pending:
                if call_id is not None and call.id == call_id:
                    self._pending.remove(call)
                    return call
        return None

    def match(self, name: str, arguments: JsonValue) -> str | None:
        """The id of the pending call that a direct call of this tool answers: by equal arguments, else the only one."""
        self.catch_up()
        if not self._pending:
            return None
        with self._lock:
            of_name = [call for call in self._pending if call.name == name]
            equal = [call for call in of_name if call.arguments == arguments]
            found = equal[0] if equal else of_name[0] if len(of_name) == 1 else None
            if found is None:
                return None
            self._pending.remove(found)
            return found.id


class NoRun(Run):
    """The run of a recording that could not be started: it keeps nothing."""

    def __init__(self) -> None:
        self.id = ""
        self.outcome = None
        self.told = {}
        self.waiting = deque()
        self.evaluator = None  # type: ignore[assignment]
        self._turn = threading.RLock()
        self._catching_up = False
        self._pending = deque(maxlen=0)
        self._lock = threading.RLock()
        self._process = os.getpid()

    def renew(self, evaluator: Evaluator) -> None: ...

    def step(self, make: Callable[[int], Span], *, outermost: bool) -> Span:  # noqa: ARG002
        return make(0)
