"""The words of llmtrace as pure values: no I/O, no clock, no OpenTelemetry."""

from llmtrace.model.double_counted import double_counted_spans, uncharged_spans
from llmtrace.model.failure_kind import (
    BUDGET_EXCEEDED,
    BUDGET_STOPPED,
    CANCELLED,
    CANCELLING,
    DEADLINE,
    INVALID_TOOL_CALL,
    TIMEOUT,
    TOOL_ERROR,
    failure_kind,
    is_stopped_by_budget,
)
from llmtrace.model.findings import Code, Evaluation, Fault, Severity, Violation, Where
from llmtrace.model.messages import (
    Blob,
    Compaction,
    File,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    changes_by_hints,
    reads_as_data,
    refusal_as_text,
)
from llmtrace.model.operations import (
    AgentInvocation,
    Custom,
    Embedding,
    FetchResponse,
    Fingerprint,
    Inference,
    Memory,
    Operation,
    Plan,
    Retrieval,
    Review,
    ToolExecution,
    Usage,
    Workflow,
)
from llmtrace.model.recorded import Exchange, Recorded
from llmtrace.model.sink import Sink
from llmtrace.model.spans import AttributeValue, Event, Failure, Kind, Link, RawSpan, Scope, Span
from llmtrace.model.traces import ACCEPTANCE, FEEDBACK, OUTCOME, Health, Trace, has_error, outermost_of
from llmtrace.model.value import replace
