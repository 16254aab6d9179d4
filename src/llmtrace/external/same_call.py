"""Finds out whether another instrumentation's span is about a model call that we record too, where neither is inside the other.

This happens if an instrumentation keeps no span current during the request: with callbacks and streams. The answer's id
decides, if both have recorded one and the two are equal. Libraries make up ids of their own, so different ones prove nothing.
Then the spans decide: ours is within theirs in time, in the same trace, started by the same thread and task, and nothing that
both say of the call (model, answer, tokens) is different. The answer alone never decides: parallel calls often have the same.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from typing import NamedTuple, TypeAlias, TypeVar

from opentelemetry import trace
from opentelemetry.trace import SpanContext

from llmtrace.locks import fork_safe_lock, importing
from llmtrace.model import Inference, Span

MOST_CALLS = 1024
"""Calls of ours that are remembered at most. Another instrumentation's span of the same call ends right after it, or before."""

K = TypeVar("K")
V = TypeVar("V")
Worker: TypeAlias = tuple[int, int]
"""Thread and asyncio task (0: none), by their ids."""


def remember(memory: OrderedDict[K, V], key: K, value: V, most: int = MOST_CALLS) -> None:
    """Put an entry at the end of a memory that holds at most so many: the oldest is forgotten."""
    memory[key] = value
    if len(memory) > most:
        memory.popitem(last=False)


def current_worker() -> Worker:
    """Return the thread and the task that run now."""
    loop = asyncio._get_running_loop()  # `current_task` alone would raise where none runs, which takes ten times as long
    task = None if loop is None else asyncio.current_task(loop)
    return threading.get_ident(), 0 if task is None else id(task)


class _Call(NamedTuple):
    """One of our calls, in names and numbers."""

    around: SpanContext
    """The span that was current; an invalid one for roots, which each have their own trace."""
    start: int
    worker: Worker
    models: tuple[str | None, ...]
    taken_by: set[str]
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

    def started(self, span_id: str, operation: Inference) -> None:
        """Remember an inference of ours that starts now, below what is current."""
        around = trace.get_current_span().get_span_context()
        call = _Call(around, time.time_ns(), current_worker(), (operation.request_model,), set())
        with self._lock:
            remember(self._calls, span_id, call)

    def __contains__(self, span_id: object) -> bool:
        """True for the id of one of these inferences, also when it has ended."""
        return span_id in self._calls

    def ended(self, span: Span) -> None:
        """Keep what an inference of ours says now that it has ended."""
        if span.span_id not in self._calls:
            return
        assert isinstance(span.operation, Inference)
        operation, tokens, answer = span.operation, _output_tokens(span.operation), _answer(span.operation)
        models = (operation.request_model, operation.response_model)
        with self._lock:
            call = self._calls.get(span.span_id)
            if call is not None:
                self._calls[span.span_id] = _Call(
                    call.around, span.start, call.worker, models, call.taken_by, True, operation.response_id, tokens, answer
                )

    def take(self, theirs: Span, worker: Worker) -> bool:
        """Return True if an ended external inference is one of our calls. Each instrumentation tells of a call once.

        ``worker``: the one that started the external span.
        """
        if not self._calls:
            return False
        with self._lock:
            calls = [call for call in reversed(self._calls.values()) if theirs.scope.name not in call.taken_by]
            found = next((call for call in calls if _has_same_id(call, theirs)), None)
            found = found or next((call for call in reversed(calls) if _may_be_same(call, theirs, worker)), None)
            if found is not None:
                found.taken_by.add(theirs.scope.name)
        return found is not None


def is_only_request(span: Span) -> bool:
    """True for logfire's span of a streamed call, which ends when the stream begins: a second span reports the answer."""
    operation = span.operation
    if not isinstance(operation, Inference) or span.attributes.get("logfire.span_type") != "span" or span.failure is not None:
        return False
    says_nothing = operation.usage is None and not operation.finish_reasons and operation.response_id is None
    return says_nothing and not any(message.parts for message in operation.output)


def _has_same_id(call: _Call, theirs: Span) -> bool:
    return call.response_id is not None and call.response_id == getattr(theirs.operation, "response_id", None)


def _may_be_same(call: _Call, theirs: Span, worker: Worker) -> bool:
    operation = theirs.operation
    assert isinstance(operation, Inference)
    trace_id = f"{call.around.trace_id:032x}" if call.around.is_valid else None
    if trace_id != (None if theirs.parent_id is None else theirs.trace_id) or not _may_be_same_worker(call.worker, worker):
        return False
    if theirs.start > call.start:
        return False
    if theirs.end is not None and theirs.end < call.start:
        # it is told of after our call has ended, so it is back-dated to when the stream was made: the answer must be ours
        answer = _answer(operation)
        if not call.has_ended or answer is None or answer != call.answer:
            return False
    ours, models = _models(*call.models), _models(operation.request_model, operation.response_model)
    if not call.has_ended:  # only the model is known, so it must be; the thread that reads the stream ends both
        return bool(models & ours) and call.worker[0] == threading.get_ident()
    if models and ours and not models & ours:
        return False
    return _agree(call.answer, _answer(operation)) and _agree(call.output_tokens, _output_tokens(operation))


def _may_be_same_worker(ours: Worker, theirs: Worker) -> bool:
    """Return True for one worker; also if a callback or a request was handed to a thread outside the event loop's tasks."""
    return ours == theirs or (ours[0] != theirs[0] and 0 in (ours[1], theirs[1]) and ours[1] != theirs[1])


def _models(*names: str | None) -> frozenset[str]:
    """Return names of models without what routers put before them (``openai/``)."""
    return frozenset(name.rpartition("/")[2] for name in names if name)


def _agree(ours: int | None, theirs: int | None) -> bool:
    return ours is None or theirs is None or ours == theirs


def _output_tokens(inference: Inference) -> int | None:
    return None if inference.usage is None else inference.usage.output_tokens


def _answer(inference: Inference) -> int | None:
    with importing:
        from llmtrace.codec.reconcile import answer_texts

    texts = answer_texts(inference.output)
    return hash(tuple(texts)) if texts else None
