"""An ended span as OpenTelemetry metrics. Law: labels are of low cardinality; never an id, a user, or content."""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics

from llmtrace import semconv
from llmtrace.model import AgentInvocation, Inference, Span, ToolExecution

# Buckets in seconds that the conventions advise for operation durations.
_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]


class Metrics:
    """A sink of the recorder that feeds the program's MeterProvider; it costs next to nothing where there is none."""

    marks = False

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        """``meter_provider``: default, the global one, also when it is set later."""
        self._given = meter_provider
        self._idle: metrics.MeterProvider | None = None
        """The global provider that was last seen to be none of the program's: asking it again costs 0.2 µs, recording 2."""
        meter = metrics.get_meter(semconv.SCOPE_NAME, meter_provider=meter_provider)

        def seconds(name: str, what: str) -> Any:
            return meter.create_histogram(name, unit="s", description=what, explicit_bucket_boundaries_advisory=_SECONDS)

        self._inference = seconds(semconv.METRIC_INFERENCE_DURATION, "Duration of a model call.")
        self._first_chunk = seconds(semconv.METRIC_TIME_TO_FIRST_CHUNK, "Time from the request to the first chunk.")
        self._tool = seconds(semconv.METRIC_EXECUTE_TOOL_DURATION, "Duration of a tool execution.")
        self._agent = seconds(semconv.METRIC_INVOKE_AGENT_DURATION, "Duration of an agent invocation.")
        self._input = meter.create_counter(semconv.METRIC_INPUT_TOKENS, unit="{token}", description="Input tokens used.")
        self._output = meter.create_counter(semconv.METRIC_OUTPUT_TOKENS, unit="{token}", description="Output tokens used.")

    def append(self, span: Span) -> None:
        if span.duration is None or self._is_idle():
            return
        operation = span.operation
        if isinstance(operation, Inference):
            self._record_inference(span, operation)
        elif isinstance(operation, ToolExecution) and operation.executed:
            self._tool.record(span.duration, _labels(span, {semconv.TOOL_NAME: operation.name}))
        elif isinstance(operation, AgentInvocation):
            self._agent.record(span.duration, _labels(span, {semconv.AGENT_NAME: operation.name}))

    def _is_idle(self) -> bool:
        """True where nobody records: no provider is set, or the API's own that does nothing."""
        if self._given is not None:
            return False
        if self._idle is not None and getattr(metrics._internal, "_METER_PROVIDER", self) is None:
            return True  # still none: to ask for it costs 2 µs, since that looks into the environment, too
        provider = metrics.get_meter_provider()
        if provider is self._idle:
            return True
        if type(provider).__module__.startswith("opentelemetry.metrics"):  # the API's own; an SDK is another package
            self._idle = provider
            return True
        return False

    def _record_inference(self, span: Span, inference: Inference) -> None:
        labels = _labels(
            span,
            {
                semconv.OPERATION_NAME: inference.operation,
                semconv.PROVIDER_NAME: inference.provider,
                semconv.REQUEST_MODEL: inference.request_model,
                semconv.RESPONSE_MODEL: inference.response_model,
                semconv.SERVER_ADDRESS: inference.server_address,
                semconv.SERVER_PORT: inference.server_port,
            },
        )
        self._inference.record(span.duration, labels)
        if inference.time_to_first_chunk is not None:
            self._first_chunk.record(inference.time_to_first_chunk, labels)
        if inference.usage is not None:
            self._input.add(inference.usage.input_tokens or 0, labels)
            self._output.add(inference.usage.output_tokens or 0, labels)


def _labels(span: Span, labels: dict[str, Any]) -> dict[str, Any]:
    if span.failure is not None:
        labels[semconv.ERROR_TYPE] = span.failure.type
    return {name: label for name, label in labels.items() if label is not None}
