"""A span while it is open. Law: it ends once, whoever ends it, on whatever thread, and ending it never raises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from llmtrace.model import Evaluation, Event, Failure, Inference, JsonValue, Kind, Link, Operation, Receipt, Recorded, Span
from llmtrace.recorder import collected, keys
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.otel import Started
from llmtrace.recorder.run import Run

if TYPE_CHECKING:
    from llmtrace.recorder.recorder import Recorder


class Recording:
    """An open span of a `Recorder`. Instrumentors and decorators fill it, make it current, and end it."""

    program_events: frozenset[tuple[str, int]] = frozenset()
    """Name and time of each event that the program added to the OpenTelemetry span."""
    has_program_failure = False
    """True if the program set the status of the OpenTelemetry span to an error."""
    is_collected = False
    """True if the garbage collector closes the traced generator; then another thread ends the span, see
    `recorder.collected`."""
    recorded: Recorded | None = None
    """Data of this span that a replay needs."""
    recorded_failure: Failure | None = None
    """In a replay: the failure of the recorded span that answered this call. A result may hide it."""
    recorded_receipt: Receipt | None = None
    """In a replay: the receipt of the recorded span that answered this call."""
    _context: Context | None = None

    def __init__(
        self,
        recorder: Recorder,
        run: Run,
        started: Started,
        *,
        outermost: bool,
        name: str,
        kind: Kind,
        operation: Operation,
        start: int,
        attributes: dict[str, JsonValue],
        events: list[Event],
        watchers: tuple[Any, ...],
        otel_name: str,
        otel_attributes: Mapping[str, JsonValue],
        around: Context,
        links: tuple[Link, ...] = (),
        parent: Recording | None = None,
    ) -> None:
        self.recorder = recorder
        self._around = around
        self.run = run
        self.parent = parent
        """The open span above it, in the same run."""
        self.otel, self.trace_id, self.span_id, self.parent_id = started
        self.outermost = outermost
        self.name = name
        self.kind: Kind = kind
        self.operation = operation
        self.start = start
        self.attributes = attributes
        self.watchers = watchers
        self.otel_name = otel_name
        self.otel_attributes = otel_attributes
        """The name and the attributes that the OpenTelemetry span was started with."""
        self.waits: list[tuple[int, int]] = []
        """Start and end of each review that ended inside it."""
        self.refusals: list[Evaluation] = []
        """Refusals by watchers of operations below it."""
        self.links = links
        self.events = events
        self._open = [True]

    @property
    def context(self) -> Context:
        """The OpenTelemetry context in which this span is current, for us and for other instrumentations."""
        context = self._context
        if context is None:
            context = Context({**set_span_in_context(self.otel, self._around), keys.RECORDING: self})
            if type(self.operation) is not Inference:  # an inference in an agent or tool is not part of an outer inference
                dict.pop(context, keys.GENAI_INFERENCE, None)
            if self._open:
                self._context = context
        return context

    @context.setter
    def context(self, context: Context) -> None:
        self._context = context

    def attach(self) -> Token[Context]:
        """Make this span current. Hand the token to `detach` before control leaves: never across a ``yield``."""
        return otel_context.attach(self.context)

    @staticmethod
    def detach(token: Token[Context]) -> None:
        """Undo `attach`. Does nothing if the token belongs to another context (a generator closed elsewhere)."""
        try:
            token.var.reset(token)
        except Exception:  # a foreign context, or a run-time context of another kind: it ends with its task
            return

    @contextmanager
    def use(self) -> Iterator[None]:
        """Make this span current around one synchronous call, or one step of an iterator."""
        token = self.attach()
        try:
            yield
        finally:
            self.detach(token)

    def headers(self) -> dict[str, str]:
        """``traceparent`` (and ``tracestate``) for a request made within this span. No baggage."""
        try:
            context = self.otel.get_span_context()
            carrier = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{context.trace_flags:02x}"}
            if context.trace_state:
                carrier["tracestate"] = context.trace_state.to_header()
            return carrier
        except Exception as error:
            report(self.headers, error)
            return {}

    def first_chunk(self) -> None:
        """Tell the sinks that the first chunk of a streamed answer came."""
        for sink in self.recorder.sinks:
            guard(sink.on_first_chunk, self.span_id)

    def set(self, attributes: Mapping[str, JsonValue]) -> None:
        """Add attributes of the program."""
        if self._open:
            self.attributes.update(attributes)

    def add_event(self, name: str, attributes: Mapping[str, JsonValue] | None = None) -> None:
        if self._open:
            self.events.append(Event(name, self.recorder.identity.clock(), dict(attributes or {})))

    def end(
        self,
        operation: Operation | None = None,
        *,
        failure: Failure | None = None,
        exception: BaseException | None = None,
        end: int | None = None,
    ) -> Span | None:
        """End the span: evaluate it, hand it to the sinks, end its OpenTelemetry span.

        ``operation``: complete now (default: as at the start). ``failure`` or ``exception``: why it failed. ``end``:
        nanoseconds since the Unix epoch (default: now). Returns the span before redaction, or None if it had ended before, was
        opened before a fork, ``is_collected``, or could not be recorded.
        """
        try:
            self._open.pop()
        except IndexError:
            return None
        self._context = None  # the context refers to this recording: a cycle that would keep the whole run alive
        if not self.run.is_here:  # a forked child leaves the blocks of its parent, which ends them itself
            return None
        if self.is_collected:
            moment = self.recorder.identity.clock() if end is None else end
            collected.end_later(lambda: self._end(operation, failure, exception, moment))
            return None
        return self._end(operation, failure, exception, end)

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    def _end(
        self, operation: Operation | None, failure: Failure | None, exception: BaseException | None, end: int | None
    ) -> Span | None:
        try:
            return self.recorder.finish(self, operation or self.operation, failure, exception, end)
        except Exception as error:
            report(self.recorder.finish, error)
            return None


class NoRecording(Recording):
    """Replaces a recording that could not be started. It does nothing, so that the program's call goes on."""

    def __init__(self, recorder: Recorder, operation: Operation) -> None:
        super().__init__(
            recorder,
            recorder.new_run(),
            Started(INVALID_SPAN, "0" * 32, "0" * 16, None),
            outermost=False,
            name="",
            kind="internal",
            operation=operation,
            start=0,
            attributes={},
            events=[],
            watchers=(),
            otel_name="",
            otel_attributes={},
            around=otel_context.get_current(),
        )
        self._open = []

    @property
    def context(self) -> Context:
        return self._around

    @context.setter
    def context(self, context: Context) -> None: ...

    def headers(self) -> dict[str, str]:
        return {}
