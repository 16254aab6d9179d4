"""Spans as OpenTelemetry metrics, under the names of the GenAI conventions; what these do not name is ``llmtrace.*``.

Laws: labels are of low cardinality, those that the conventions list for the metric; never an id, a user, or content. Each model
call counts once. Where the program has no MeterProvider, nothing is computed; where it has one, the calling thread only notes
what is to be counted. docs/reference/metrics.md lists what there is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from llmtrace import semconv as sc
from llmtrace.locks import fork_safe_lock
from llmtrace.model import (
    AgentInvocation,
    Blob,
    Embedding,
    FetchResponse,
    File,
    Inference,
    Memory,
    Message,
    Operation,
    Retrieval,
    Sink,
    Span,
    ToolCall,
    ToolExecution,
    Uri,
    Workflow,
    failure_kind,
)

Labels: TypeAlias = "dict[str, Any]"
_Record: TypeAlias = "Callable[[float, Labels, Context], None]"
_Put: TypeAlias = "Callable[[_Record, float | None, Labels], None]"

# Buckets. They hold those that the conventions advise; more at the ends, where reasoning models and fast streams are.
CHUNK_SECONDS = [0.001, 0.0025, 0.005]
CALL_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68, 655.36]
AGENT_SECONDS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 1638.4, 3276.8]
TOKENS = [1, 4, *(1 << power for power in range(4, 21))]
CALLS = [0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100, 200]

OPEN = 4096
"""Open spans below which calls are counted, and calls in flight, at most; the oldest are dropped first."""
WAITING = 16_384
"""Measurements that wait to be collected; some fifteen for a model call."""
_MEDIA = (Blob, Uri, File)


class Metrics(Sink):
    """A sink of the recorder that feeds the program's MeterProvider. Without one it costs almost nothing."""

    wants_start_marks = False

    def __init__(self, meter_provider: metrics.MeterProvider | None = None, *, older: bool = False) -> None:
        """``meter_provider``: default, the global one, also when it is set later. ``older``: model calls count under the
        names of former conventions, too."""
        self._older = older
        self._provider = meter_provider
        self._idle: metrics.MeterProvider | None = None
        """The global provider when it was last seen not to be set by the program. Comparing is cheaper than asking it."""
        self._was_idle = False
        """Result of `is_idle` at the end of the last span. Asking again at a start would cost as much as the rest of it."""
        meter = metrics.get_meter(sc.SCOPE_NAME, meter_provider=meter_provider)
        self._make(meter)
        self._calls = _Calls()
        self._queue, self._under_way = _shared(meter_provider, meter)

    def _make(self, meter: metrics.Meter) -> None:
        def histogram(name: str, unit: str, bounds: Sequence[float], what: str) -> Any:
            return meter.create_histogram(name, unit=unit, description=what, explicit_bucket_boundaries_advisory=bounds)

        def tokens(name: str, what: str) -> Any:
            return meter.create_counter(name, unit="{token}", description=what)

        self._inference = histogram(sc.METRIC_INFERENCE_DURATION, "s", CALL_SECONDS, "Duration of a model call.")
        self._first = histogram(sc.METRIC_TIME_TO_FIRST_CHUNK, "s", CALL_SECONDS, "From the request to the first chunk.")
        self._pace = histogram(
            sc.METRIC_TIME_PER_OUTPUT_CHUNK, "s", CHUNK_SECONDS + CALL_SECONDS, "Mean time between a stream's chunks."
        )
        self._usage = (
            (tokens(sc.METRIC_INPUT_TOKENS, "Input tokens used, cached ones included."), "input_tokens", True),
            (tokens(sc.METRIC_OUTPUT_TOKENS, "Output tokens used, reasoning included."), "output_tokens", False),
            (tokens(sc.METRIC_CACHE_READ, "Input tokens read from a cache."), "cache_read_input_tokens", True),
            (tokens(sc.METRIC_CACHE_WRITE, "Input tokens written to a cache."), "cache_write_input_tokens", True),
            (tokens(sc.METRIC_REASONING, "Output tokens spent on reasoning."), "reasoning_output_tokens", False),
        )
        self._input = histogram(sc.METRIC_OPERATION_INPUT, "{token}", TOKENS, "Input tokens of a model call.")
        self._output = histogram(sc.METRIC_OPERATION_OUTPUT, "{token}", TOKENS, "Output tokens of a model call.")
        self._operation = histogram(sc.METRIC_OPERATION_DURATION, "s", CALL_SECONDS, "Duration of another client operation.")
        if self._older:
            self._tokens = histogram(sc.METRIC_OLDER_TOKENS, "{token}", TOKENS, "Tokens of a model call, by type.")
        self._tool = histogram(sc.METRIC_EXECUTE_TOOL_DURATION, "s", CALL_SECONDS, "Duration of a tool execution.")
        self._agent = histogram(sc.METRIC_INVOKE_AGENT_DURATION, "s", AGENT_SECONDS, "Duration of an agent or workflow.")
        self._agent_calls = (
            histogram(sc.METRIC_INFERENCE_CALLS, "{inference_call}", CALLS, "Model calls of one agent invocation."),
            histogram(sc.METRIC_TOOL_CALLS, "{tool_call}", CALLS, "Tool executions of one agent invocation."),
        )
        self._mcp = {
            False: histogram(sc.METRIC_MCP_CLIENT_DURATION, "s", CALL_SECONDS, "Duration of an MCP request, at the client."),
            True: histogram(sc.METRIC_MCP_SERVER_DURATION, "s", CALL_SECONDS, "Duration of an MCP request, at the server."),
        }
        self._cost = meter.create_counter(sc.METRIC_COST, unit="{USD}", description="Cost of model calls of known price.")
        self._tool_calls = meter.create_counter(
            sc.METRIC_TOOL_CALLS_ASKED,
            unit="{call}",
            description="Tool calls that models asked for, and whether they were valid.",
        )
        self._evaluations = meter.create_counter(
            sc.METRIC_EVALUATIONS, unit="{evaluation}", description="Evaluations by name and label."
        )

    def on_span_start(self, span_id: str, operation: Operation) -> None:
        if isinstance(operation, (Inference, Embedding)) and not self._was_idle and not self.is_idle():
            self._under_way.begin(span_id, _client_labels(operation))

    def on_first_chunk(self, span_id: str) -> None:
        self._under_way.answer(span_id)

    def on_span_end(self, span: Span) -> bool:
        self._was_idle = self.is_idle()
        if self._was_idle:  # and so nobody has: a provider that is set stays
            return False
        self._under_way.end(span.span_id)
        return span.end is not None

    def append(self, span: Span) -> None:
        if not self.on_span_end(span) or span.duration is None:
            return
        put = self._queue.of(span)
        is_outer, counts = self._calls.count(span)
        operation = span.operation
        if isinstance(operation, Inference):
            if not is_outer:
                self._record_inference(span, operation, put)
        elif isinstance(operation, AgentInvocation):
            put(self._agent.record, span.latency, _agent_labels(sc.INVOKE_AGENT, operation, span))
            for histogram, number in zip(self._agent_calls, counts, strict=True):
                put(histogram.record, number, {sc.AGENT_NAME: operation.name})
        else:
            self._record_other(span, operation, put)
        if sc.MCP_METHOD in span.attributes:
            put(self._mcp[span.kind == "server"].record, span.latency, _mcp_labels(span))
        for evaluation in span.evaluations:
            labels = {sc.EVALUATION_NAME: evaluation.name, sc.EVALUATION_SCORE_LABEL: evaluation.label}
            labels |= {sc.EVALUATION_PREFIX + "severity": evaluation.severity, **_whose(operation)}
            labels |= {sc.EVALUATION_CONFIDENCE: evaluation.confidence}  # of a mark; a fact about a step has none
            put(self._evaluations.add, 1, _labels(labels))

    def is_idle(self) -> bool:
        """True if nothing is recorded: no provider is set, or only the API's no-op provider."""
        if self._provider is not None:
            return False
        provider = metrics.get_meter_provider()
        if provider is self._idle:
            return True
        if type(provider).__module__.startswith("opentelemetry.metrics"):  # the API's own; an SDK is another package
            self._idle = provider
            return True
        return False

    def _record_inference(self, span: Span, inference: Inference, put: _Put) -> None:
        labels = _client_labels(inference) | _labels({sc.RESPONSE_MODEL: inference.response_model})
        with_error = _labels(dict(labels), span)
        put(self._inference.record, span.duration, with_error)
        put(self._first.record, inference.time_to_first_chunk, labels)
        put(self._pace.record, _pace(span, inference), labels)
        usage = inference.usage
        modality = {True: _modality(inference.input), False: _modality(inference.output)}
        for counter, field, is_input in self._usage:
            used = None if usage is None else getattr(usage, field)
            token_type = "unknown" if used is None else modality[is_input]
            put(counter.add, used or 0, {**labels, sc.METRIC_TOKEN_MODALITY: token_type})
        if usage is not None:
            put(self._input.record, usage.input_tokens, with_error)
            put(self._output.record, usage.output_tokens, with_error)
        put(self._cost.add, inference.cost_usd, labels)
        if self._older:
            put(self._operation.record, span.duration, with_error)
            if usage is not None:
                put(self._tokens.record, usage.input_tokens, {**with_error, sc.METRIC_TOKEN_TYPE: "input"})
                put(self._tokens.record, usage.output_tokens, {**with_error, sc.METRIC_TOKEN_TYPE: "output"})
        for tool, valid in _tool_calls_of(span, inference):
            put(self._tool_calls.add, 1, _labels({sc.TOOL_NAME: tool, sc.TOOL_CALL_VALID: valid}))

    def _record_other(self, span: Span, operation: Operation, put: _Put) -> None:
        if isinstance(operation, ToolExecution):
            if operation.executed:
                named = {sc.TOOL_NAME: operation.name, sc.TOOL_TYPE: operation.type}
                put(self._tool.record, span.latency, _labels(named, span))
        elif isinstance(operation, Workflow):
            put(self._agent.record, span.latency, _agent_labels(sc.INVOKE_WORKFLOW, operation, span))
        elif isinstance(operation, (Embedding, Retrieval, Memory, FetchResponse)):
            labels = _client_labels(operation) | _labels({sc.RESPONSE_MODEL: getattr(operation, "response_model", None)})
            put(self._operation.record, span.duration, _labels(labels, span))


def observe_dead_letters(provider: metrics.MeterProvider, read: Callable[[], Mapping[str, Sequence[float]]]) -> None:
    """Report a store's open dead letters. ``read`` returns the ages of all of them, in seconds, by reason; it must not
    raise."""
    meter = metrics.get_meter(sc.SCOPE_NAME, meter_provider=provider)

    def counted(_: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [metrics.Observation(len(ages), {sc.METRIC_DEAD_LETTER_REASON: reason}) for reason, ages in read().items()]

    def oldest(_: metrics.CallbackOptions) -> list[metrics.Observation]:
        found = read().items()
        return [metrics.Observation(max(ages, default=0), {sc.METRIC_DEAD_LETTER_REASON: reason}) for reason, ages in found]

    what = "Work that runs gave up and that nobody has dealt with."
    meter.create_observable_gauge(sc.METRIC_DEAD_LETTERS, callbacks=[counted], unit="{letter}", description=what)
    what = "How long the oldest of them has waited."
    meter.create_observable_gauge(sc.METRIC_OLDEST_DEAD_LETTER, callbacks=[oldest], unit="s", description=what)


def observe_issues(provider: metrics.MeterProvider, read: Callable[[], Mapping[str, int]]) -> None:
    """Report how many issues a store has. ``read`` returns their number by state; it must not raise."""
    meter = metrics.get_meter(sc.SCOPE_NAME, meter_provider=provider)

    def counted(_: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [metrics.Observation(number, {sc.METRIC_ISSUE_STATE: state}) for state, number in read().items()]

    what = "Failures of the stored runs, grouped by what they are."
    meter.create_observable_gauge(sc.METRIC_ISSUES, callbacks=[counted], unit="{issue}", description=what)


class _Queue:
    """Measurements that wait until the program's reader collects them. The SDK takes 15 µs for each, which the calling thread
    should not spend. If more than `WAITING` wait, adding one records the oldest."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[_Record, float, Labels, str, str]] = deque()
        self._last: tuple[str, Context] = "", Context()
        """Context of the last recorded span, because most spans have several measurements."""

    def of(self, span: Span) -> _Put:
        """Return a function that adds a measurement of this span; None is unknown and not recorded."""
        waiting, trace_id, span_id = self._waiting, span.trace_id, span.span_id

        def put(record: _Record, value: float | None, labels: Labels) -> None:
            if value is not None:
                waiting.append((record, value, labels, trace_id, span_id))
                if len(waiting) > WAITING:
                    self._record()

        return put

    def drain(self) -> None:
        while self._record():
            pass

    def _record(self) -> bool:
        try:
            record, value, labels, trace_id, span_id = self._waiting.popleft()
        except IndexError:
            return False
        record(value, labels, self._context(trace_id, span_id))
        return True

    def _context(self, trace_id: str, span_id: str) -> Context:
        """Return a context with the span as the current one, so that OpenTelemetry's exemplars lead from a histogram to it."""
        latest, context = self._last
        if latest != span_id:
            ids = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
            context = set_span_in_context(NonRecordingSpan(ids), Context())
            self._last = span_id, context
        return context


class _UnderWay:
    """Model calls in flight, and those among them without a first chunk yet."""

    def __init__(self, meter: metrics.Meter, before: Callable[[], None]) -> None:
        """``before`` is called whenever the program's reader is about to collect."""

        def in_flight(_: metrics.CallbackOptions) -> list[metrics.Observation]:
            before()
            return self._observed(self._open)

        def waiting(_: metrics.CallbackOptions) -> list[metrics.Observation]:
            return self._observed(self._unanswered)

        def observe(name: str, callback: Any, what: str) -> None:
            meter.create_observable_up_down_counter(name, callbacks=[callback], unit="{call}", description=what)

        self._open: OrderedDict[str, Labels] = OrderedDict()
        self._unanswered: set[str] = set()
        self._seen: dict[tuple[tuple[str, Any], ...], Labels] = {}
        """All labels that were ever in use: they must be reported as 0 afterwards."""
        self._lock = fork_safe_lock()  # reentrant: the collector may end a span while we are in here
        observe(sc.METRIC_IN_FLIGHT, in_flight, "Model calls that have begun and not ended.")
        observe(sc.METRIC_WAITING, waiting, "Those of them of whose answer nothing has come yet.")

    def begin(self, span_id: str, labels: Labels) -> None:
        with self._lock:
            self._open[span_id] = labels
            self._unanswered.add(span_id)
            if len(self._open) > OPEN:
                self._unanswered.discard(self._open.popitem(last=False)[0])

    def answer(self, span_id: str) -> None:
        self._unanswered.discard(span_id)

    def end(self, span_id: str) -> None:
        if span_id in self._open:
            with self._lock:
                self._unanswered.discard(span_id)
                labels = self._open.pop(span_id, None)
                if labels is not None and len(self._seen) < OPEN:
                    self._seen.setdefault(tuple(labels.items()), labels)

    def _observed(self, span_ids: Iterable[str]) -> list[metrics.Observation]:
        with self._lock:
            counts = dict.fromkeys(self._seen, 0)
            for span_id in span_ids:
                if (labels := self._open.get(span_id)) is not None:
                    key = tuple(labels.items())
                    self._seen.setdefault(key, labels)
                    counts[key] = counts.get(key, 0) + 1
            return [metrics.Observation(count, dict(key)) for key, count in counts.items()]


class _Global:
    """Key for the global provider, whichever that is or will be."""


_GLOBAL = _Global()
_of_provider: WeakKeyDictionary[object, tuple[_Queue, _UnderWay]] = WeakKeyDictionary()


def _shared(provider: metrics.MeterProvider | None, meter: metrics.Meter) -> tuple[_Queue, _UnderWay]:
    """Return the objects shared by all sinks of one provider: OpenTelemetry asks only the first registered callback of an
    observable, and ``configure()`` may be called again."""
    owner = _GLOBAL if provider is None else provider
    if owner not in _of_provider:
        queue = _Queue()
        _of_provider[owner] = queue, _UnderWay(meter, queue.drain)
    return _of_provider[owner]


class _Calls:
    """Counts model calls and tool executions of each agent. Children end before their parents, and pass their counts up."""

    def __init__(self) -> None:
        self._below: OrderedDict[str, tuple[int, int, int]] = OrderedDict()
        """By id of an open span: model calls, tool executions, and model calls with no tool between."""
        self._lock = fork_safe_lock()

    def count(self, span: Span) -> tuple[bool, tuple[int, int]]:
        """Return True if the span is an inference around another one, which counts instead; and the calls of an agent."""
        operation = span.operation
        with self._lock:
            models, tools, bare = self._below.pop(span.span_id, (0, 0, 0))
            is_outer = isinstance(operation, Inference) and bare > 0
            if isinstance(operation, (AgentInvocation, Workflow)):
                return False, (models, tools)
            if isinstance(operation, Inference) and not is_outer:
                models, bare = models + 1, bare + 1
            elif isinstance(operation, ToolExecution):
                tools, bare = tools + operation.executed, 0
            if span.parent_id is not None and (models or tools):
                before = self._below.get(span.parent_id, (0, 0, 0))
                self._below[span.parent_id] = (before[0] + models, before[1] + tools, before[2] + bare)
                if len(self._below) > OPEN:
                    self._below.popitem(last=False)
        return is_outer, (0, 0)


def _client_labels(operation: Any) -> Labels:
    kind = {Embedding: sc.EMBEDDINGS, Retrieval: sc.RETRIEVAL, FetchResponse: sc.FETCH_RESPONSE}.get(type(operation))
    return _labels(
        {
            sc.OPERATION_NAME: kind or operation.operation,
            sc.PROVIDER_NAME: operation.provider,
            sc.REQUEST_MODEL: getattr(operation, "request_model", None),
            sc.SERVER_ADDRESS: getattr(operation, "server_address", None),
            sc.SERVER_PORT: getattr(operation, "server_port", None),
        }
    )


def _whose(operation: Operation) -> Labels:
    """Return the labels of an evaluation's subject: the model, the tool or the agent."""
    if isinstance(operation, Inference):
        return {sc.REQUEST_MODEL: operation.request_model, sc.RESPONSE_MODEL: operation.response_model}
    if isinstance(operation, ToolExecution):
        return {sc.TOOL_NAME: operation.name if operation.executed else None}
    return {sc.AGENT_NAME: operation.name} if isinstance(operation, AgentInvocation) else {}


def _agent_labels(kind: str, operation: AgentInvocation | Workflow, span: Span) -> Labels:
    """``kind``: the operation's name, which tells the agents of a histogram from its workflows."""
    return _labels({sc.OPERATION_NAME: kind, sc.AGENT_NAME: operation.name}, span)


def _mcp_labels(span: Span) -> Labels:
    label_names = (sc.MCP_METHOD, sc.MCP_PROTOCOL_VERSION, sc.RPC_STATUS_CODE, sc.PROMPT_NAME)
    labels = {name: span.attributes.get(name) for name in label_names}
    if isinstance(span.operation, ToolExecution):
        labels |= {sc.TOOL_NAME: span.operation.name, sc.OPERATION_NAME: sc.EXECUTE_TOOL}
    return _labels(labels, span)


def _labels(labels: Labels, span: Span | None = None) -> Labels:
    """Drop labels without a value, and add the failure of ``span``."""
    if span is not None and span.failure is not None:
        labels[sc.ERROR_TYPE] = failure_kind(span.failure)
    return {name: label for name, label in labels.items() if label is not None}


def _tool_calls_of(span: Span, inference: Inference) -> Iterator[tuple[str, bool | None]]:
    """Iterate over the tool calls of an answer: the tool's name, if such a tool was offered (models invent names, and labels
    must stay few), and whether the call is valid; None if unknown."""
    calls = [part for message in inference.output for part in message.parts if isinstance(part, ToolCall)]
    offered = {tool.name for tool in inference.tools}
    broken = {
        violation.call_id for violation in span.violations if violation.where == "arguments" and violation.severity == "error"
    }
    for call in calls:
        name = call.name if call.name in offered else "unknown"
        yield name, call.id not in broken if offered else None


def _pace(span: Span, inference: Inference) -> float | None:
    """Return the mean seconds between chunks after the first; None for fewer than two chunks."""
    first, chunks = inference.time_to_first_chunk, inference.chunks
    if first is None or chunks is None or chunks < 2 or span.duration is None:
        return None
    return max(0.0, (span.duration - first) / (chunks - 1))


def _modality(messages: tuple[Message, ...]) -> str:
    """Return ``text`` if all visible parts are text. Tokens of pictures and sound are not counted separately, so else
    unknown."""
    parts = [part for message in messages for part in message.parts]
    return "unknown" if not parts or any(isinstance(part, _MEDIA) for part in parts) else "text"
