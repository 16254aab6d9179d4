"""A run: the outermost llmtrace span of this process and all below it, with the state that lives and dies with it."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from llmtrace.evaluation import Evaluator
from llmtrace.model import Evaluation, FetchResponse, Inference, JsonValue, Span, ToolCall, replace
from llmtrace.recorder.guard import guard, report

_Lock = type(threading.RLock())
_process = object()
"""Another one in a fork."""
PENDING_CALLS = 256
"""Calls of the model that wait to be run; older ones are forgotten (only the match by arguments is lost)."""


MOST_WAITING = 256
"""Ended spans of a run that wait to be read; for each one more, the oldest is evaluated."""
READ_SECONDS = 30.0
"""How long whoever reads a span waits while the signals of its run look at others, once."""


class _Here(threading.local):
    """What is going on in a thread."""

    evaluating = False
    """What ends now was caused by a quality signal, or ended by the collector."""


here = _Here()


class Ended:
    """A span that has ended, with its place in a run: validated, and evaluated when somebody asks for it whole."""

    __slots__ = ("enrich", "outermost", "run", "span", "told")

    def __init__(self, span: Span, run: Run, *, outermost: bool, enrich: Callable[[Span], Span] | None = None) -> None:
        """``enrich`` adds what is computed from it, before it is evaluated."""
        self.span = span
        self.run: Run | None = run
        """None once it is evaluated: what is kept of a span does not keep its run."""
        self.outermost = outermost
        self.enrich = enrich
        self.told: tuple[Evaluation, ...] = ()
        """What others than quality signals say of it."""

    def whole(self, patience: float = -1) -> Span:
        """With all evaluations; see `Run.evaluate`."""
        run = self.run
        if run is not None:
            run.evaluate(self, patience)
        span = self.span
        return replace(span, evaluations=(*span.evaluations, *self.told)) if self.told else span

    def when_read(self) -> Span:
        """`whole`, but a quality signal that does not return keeps nobody from exporting spans."""
        return self.whole(READ_SECONDS)


class Run:
    """What is known of a run while it goes on. Its locks are held for steps of our own, never across I/O; of the program's code
    only quality signals run meanwhile.

    Law: spans are evaluated in the order in which they ended, whoever asks for which of them first.
    """

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
        self._ended: deque[Ended] = deque()
        """What is still to be evaluated, in its order."""
        self._lock = _Lock()  # reentrant: the collector may close a generator, and end its span, while we are in here
        self._evaluating = _Lock()
        self._is_stuck = False
        """Somebody has waited too long for a quality signal."""
        self._process = _process

    @property
    def is_here(self) -> bool:
        """False in a fork: the run, with its spans and their order, is the process's that began it."""
        return self._process is _process

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
        if not self.is_here or self._lock._is_owned() or self._evaluating._is_owned():  # type: ignore[attr-defined]
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

    def enter(
        self, make: Callable[..., Span], *of: Any, outermost: bool, enrich: Callable[[Span], Span] | None = None
    ) -> Ended:
        """Take a span that has ended, and validate it; calls that it asks for may be run from now on. ``make(place, *of)``
        makes it, given its place in the run. ``enrich``: see `Ended`."""
        if self.waiting or self._catching_up:
            self.catch_up()
        with self._lock:
            span = make(self._sequence, *of)
            self._sequence += 1
            try:
                if isinstance(span.operation, (Inference, FetchResponse)):
                    for message in span.operation.output:
                        self._pending.extend([part for part in message.parts if type(part) is ToolCall])
                span = self.evaluator.validate(self._state, span)
            except Exception as error:  # a verdict is lost, never the span
                report(self.evaluator.validate, error)
            ended = Ended(span, self, outermost=outermost, enrich=enrich)
            self._ended.append(ended)
        return ended

    def evaluate(self, ended: Ended, patience: float = -1) -> None:
        """Add to a span what quality signals find; to the outermost one also what is only known at the end. What ended before
        it is evaluated first, but for what ends while this very thread evaluates. A fork leaves it to its parent, and so it
        is left where another thread evaluates for longer than ``patience`` seconds; less than 0: it is waited for."""
        if not self.is_here:
            return
        is_nested = self._evaluating._is_owned()  # type: ignore[attr-defined]
        if not (self._evaluating.acquire(blocking=False) or self._wait(patience)):
            return
        before, here.evaluating = here.evaluating, True
        try:
            if not is_nested:
                while ended.run is not None:
                    self._evaluate(self._ended.popleft())
            elif ended in self._ended:
                self._ended.remove(ended)
                self._evaluate(ended)
        finally:
            here.evaluating = before
            self._evaluating.release()

    def _wait(self, patience: float) -> bool:
        """Wait for another thread that evaluates; not in a step of ours, in which the collector has ended a span: that thread
        may wait for the step. Whether it is done."""
        if self._lock._is_owned() or (self._is_stuck and patience >= 0):  # type: ignore[attr-defined]
            return False
        is_done = self._evaluating.acquire(timeout=patience)
        self._is_stuck = self._is_stuck or not is_done
        return is_done

    def evaluate_oldest(self) -> None:
        """No more than `MOST_WAITING` spans wait for somebody to read them; while another thread evaluates, some more do."""
        if len(self._ended) > MOST_WAITING and self._evaluating.acquire(blocking=False):
            try:
                self.evaluate(self._ended[0])
            finally:
                self._evaluating.release()

    def _evaluate(self, ended: Ended) -> None:
        try:
            if ended.enrich is not None:
                ended.span = guard(ended.enrich, ended.span) or ended.span
            ended.span = self.evaluator.evaluate(self._state, ended.span)
            if ended.outermost:
                ended.span = self.evaluator.finish(self._state, ended.span)
        except Exception as error:  # a verdict is lost, never the span
            report(self.evaluator.evaluate, error)
        finally:
            ended.run = ended.enrich = None

    def outcome_of(self, ended: Ended) -> Evaluation | None:
        """What the program said of a span's success. To be asked once."""
        return self.outcome if ended.outermost else self.told.pop(ended.span.span_id, None) if self.told else None

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
        self._process = _process

    def renew(self, evaluator: Evaluator) -> None: ...

    def enter(
        self,
        make: Callable[..., Span],
        *of: Any,
        outermost: bool,
        enrich: Callable[[Span], Span] | None = None,  # noqa: ARG002
    ) -> Ended:
        ended = Ended(make(0, *of), self, outermost=outermost)
        ended.run = None
        return ended


def _in_a_fork() -> None:
    global _process
    _process = object()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_fork)
