"""Finds out whether another instrumentation's span is about a model call that we record too, if neither is inside the other.

This happens if an instrumentation keeps no span current during the request: with callbacks and streams. Equal ids of the answer
decide. Different ids prove nothing, because libraries make up ids of their own. Then the spans decide: ours is within theirs in
time, in the same trace, started by the same thread and task, and no field that both have (model, answer, tokens) differs. Equal
answers alone are not enough: parallel calls often have the same.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from opentelemetry.trace import SpanContext

from llmtrace.locks import fork_safe_lock, importing
from llmtrace.model import Inference, Span

MOST_CALLS = 1024
"""Calls of ours that are remembered, at most. Another instrumentation's span of the same call ends shortly before or after."""

K = TypeVar("K")
V = TypeVar("V")
Worker: TypeAlias = tuple[int, int]
"""Thread and asyncio task (0: none), by their ids."""


def remember(memory: OrderedDict[K, V], key: K, value: V, limit: int = MOST_CALLS) -> None:
    """Put an entry at the end of a memory of at most ``limit`` entries; the oldest is dropped."""
    memory[key] = value
    if len(memory) > limit:
        memory.popitem(last=False)


def current_worker() -> Worker:
    """Return the thread and the task that run now."""
    asyncio = sys.modules.get("asyncio")  # takes long to import; a program that did not has no task
    # without a loop, `current_task` would raise, which takes ten times as long
    loop = None if asyncio is None else asyncio._get_running_loop()
    task = None if asyncio is None or loop is None else asyncio.current_task(loop)
    return threading.get_ident(), 0 if task is None else id(task)


@dataclass(slots=True)
class _Call:
    """A call of ours, in names and numbers."""

    around: SpanContext
    """The span that was current; an invalid one for roots, which each have their own trace."""
    start: int
    worker: Worker
    models: tuple[str | None, ...]
    taken_by: set[str] = field(default_factory=set)
    """Names of the instrumentations that have recorded this call too."""
    has_ended: bool = False
    response_id: str | None = None
    output_tokens: int | None = None
    answer: int | None = None
    """Hash of the answer's texts and tool calls."""


class OurCalls:
    """Our last inferences."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, _Call] = OrderedDict()
        self._lock = fork_safe_lock()

    def started(self, span_id: str, operation: Inference, around: SpanContext) -> None:
        """Remember an inference of ours that starts now. ``around``: the current span."""
        call = _Call(around, time.time_ns(), current_worker(), (operation.request_model,))
        with self._lock:
            remember(self._calls, span_id, call)

    def __contains__(self, span_id: object) -> bool:
        """Return True for the id of one of these inferences, even after its end."""
        return span_id in self._calls

    def ended(self, span: Span) -> None:
        """Update a remembered inference with its answer when it has ended."""
        call = self._calls.get(span.span_id)
        if call is None:
            return
        assert isinstance(span.operation, Inference)
        operation, answer = span.operation, _answer(span.operation)
        with self._lock:
            call.start, call.has_ended = span.start, True
            call.models = (operation.request_model, operation.response_model)
            call.response_id, call.output_tokens, call.answer = operation.response_id, _output_tokens(operation), answer

    def take(self, theirs: Span, worker: Worker) -> bool:
        """Return True if an ended external inference is one of our calls. Each instrumentation reports a call at most once.

        ``worker``: the thread and task that started the external span.
        """
        if not self._calls:
            return False
        with self._lock:
            calls = [call for call in reversed(self._calls.values()) if theirs.scope.name not in call.taken_by]
            response_id = getattr(theirs.operation, "response_id", None)
            same_call = next((call for call in calls if response_id is not None and call.response_id == response_id), None)
            same_call = same_call or next((call for call in reversed(calls) if _may_be_same(call, theirs, worker)), None)
            if same_call is not None:
                same_call.taken_by.add(theirs.scope.name)
        return same_call is not None


def is_only_request(span: Span) -> bool:
    """Return True for logfire's span of a streamed call, which ends when the stream begins: a second span reports the
    answer."""
    operation = span.operation
    if not isinstance(operation, Inference) or span.attributes.get("logfire.span_type") != "span" or span.failure is not None:
        return False
    says_nothing = operation.usage is None and not operation.finish_reasons and operation.response_id is None
    return says_nothing and not any(message.parts for message in operation.output)


def _may_be_same(call: _Call, theirs: Span, worker: Worker) -> bool:
    operation = theirs.operation
    assert isinstance(operation, Inference)
    trace_id = f"{call.around.trace_id:032x}" if call.around.is_valid else None
    if trace_id != (None if theirs.parent_id is None else theirs.trace_id) or theirs.start > call.start:
        return False
    (thread, task), (their_thread, their_task) = call.worker, worker
    # a callback or request may run in a thread outside the event loop's tasks
    is_handed_over = thread != their_thread and task != their_task and 0 in (task, their_task)
    if call.worker != worker and not is_handed_over:
        return False
    if theirs.end is not None and theirs.end < call.start:
        # reported after our call has ended, and dated back to the start of the stream: the answers must be equal
        answer = _answer(operation)
        if not call.has_ended or answer is None or answer != call.answer:
            return False
    ours, models = _models(*call.models), _models(operation.request_model, operation.response_model)
    if not call.has_ended:  # only the model is known so far, so it must match; one thread reads the stream and ends both
        return bool(models & ours) and call.worker[0] == threading.get_ident()
    if models and ours and not models & ours:
        return False
    pairs = ((call.answer, _answer(operation)), (call.output_tokens, _output_tokens(operation)))
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def _models(*names: str | None) -> frozenset[str]:
    """Return names of models without the prefix of routers (``openai/``)."""
    return frozenset(name.rpartition("/")[2] for name in names if name)


def _output_tokens(inference: Inference) -> int | None:
    return None if inference.usage is None else inference.usage.output_tokens


def _answer(inference: Inference) -> int | None:
    with importing:
        from llmtrace.codec.reconcile import answer_texts

    texts = answer_texts(inference.output)
    return hash(tuple(texts)) if texts else None
