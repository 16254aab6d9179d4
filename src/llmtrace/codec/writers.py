"""Lists other writers of spans: how to recognise each, and which settings make it record content and tool schemas.

`diagnosis.visibility` names the setting that would have made a check possible. docs/reference/writers.md comes from this list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from llmtrace.model import Span


class Writer(NamedTuple):
    """One library that writes spans."""

    name: str
    scopes: tuple[str, ...]
    """Prefixes of the names of its scopes."""
    marks: tuple[str, ...]
    """Prefixes of attributes that only this library writes."""
    content: str
    """How to make it record messages, arguments and results."""
    schemas: str = ""
    """How to make it record the schemas of tools. Empty: it never does."""
    damage: str = ""
    """What it loses or changes, so that the model is not to blame."""


_PYTHON: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_OPENINFERENCE: Final = (
    "leave OPENINFERENCE_HIDE_INPUTS, OPENINFERENCE_HIDE_OUTPUTS and the other OPENINFERENCE_HIDE_* variables unset"
)
_WITH_CONTENT: Final = "record content, which includes them"

WRITERS: Final = (
    Writer(
        "Vercel AI SDK with OpenInference's exporter",
        (),
        (),
        "set isEnabled, recordInputs and recordOutputs of the telemetry option to true",
        _WITH_CONTENT,
        "it marks model calls and the whole run as failed if a tool failed",
    ),
    Writer(
        "Vercel AI SDK",
        ("ai", "gen_ai"),
        ("ai.operationId", "ai.telemetry.", "ai.prompt", "ai.response.", "ai.settings."),
        "set isEnabled, recordInputs and recordOutputs of the telemetry option to true",
        _WITH_CONTENT,
    ),
    Writer(
        "OpenInference (LangChain and LangGraph JS)",
        ("@arizeai/openinference-instrumentation-langchain",),
        (),
        "leave OPENINFERENCE_HIDE_INPUTS and OPENINFERENCE_HIDE_OUTPUTS unset",
        "bind the tools to the model with bindTools, so that llm.invocation_parameters or llm.tools hold them",
        "it writes a tool's only argument without its name",
    ),
    Writer(
        "OpenInference (openai JS)",
        ("@arizeai/openinference-instrumentation-openai",),
        (),
        _OPENINFERENCE,
        _WITH_CONTENT,
        "it merges parallel tool calls of a stream into one",
    ),
    Writer(
        "OpenInference",
        ("@arizeai/openinference-", "openinference.instrumentation."),
        ("openinference.",),
        _OPENINFERENCE,
        _WITH_CONTENT,
    ),
    Writer(
        "Anthropic's SDK for TypeScript",
        ("com.anthropic.sdk.typescript",),
        (),
        "set ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE=content",
    ),
    Writer(
        "Traceloop (OpenLLMetry)",
        ("@traceloop/", "opentelemetry.instrumentation.langchain", "opentelemetry.instrumentation.openai.v"),
        ("traceloop.",),
        "set TRACELOOP_TRACE_CONTENT=true, or traceContent: true in traceloop.initialize()",
        _WITH_CONTENT,
        "it writes an answer of the Responses API that only calls tools as an empty text",
    ),
    Writer(
        "OpenTelemetry's instrumentation-openai for JavaScript",
        ("@opentelemetry/instrumentation-openai",),
        (),
        "set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true and send log records too (OTEL_LOGS_EXPORTER=otlp)",
    ),
    Writer(
        "OpenTelemetry's Java agent",
        ("io.opentelemetry.openai-java", "io.opentelemetry.aws-sdk"),
        (),
        "set otel.instrumentation.genai.capture-message-content=true and send log records too (otel.logs.exporter=otlp)",
    ),
    Writer(
        "Spring AI",
        (),
        ("spring.ai.",),
        "set spring.ai.tools.observations.include-content=true for arguments and results. The models' messages only go to the "
        "program's log (spring.ai.chat.observations.log-prompt and log-completion), not to its spans",
        "set spring.ai.tools.observations.include-content=true",
    ),
    Writer(
        "Quarkus LangChain4j",
        ("io.quarkus.opentelemetry",),
        ("langchain4j.",),
        "set quarkus.langchain4j.tracing.include-prompt, include-completion, include-tool-arguments and include-tool-result "
        "to true",
        "",
        "it writes the texts of a request as one text, and no tool calls of an answer",
    ),
    Writer(
        "Koog",
        (),
        ("koog.",),
        "call setVerbose(true) in install(OpenTelemetry) { … }",
        "",
        "it writes the system message as the answer of an agent",
    ),
    Writer("rig", ("rig",), ("rig.",), "set record_telemetry_content of the request to true"),
    Writer(
        "genai (Rust)",
        ("genai",),
        (),
        "set OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true",
        _WITH_CONTENT,
    ),
    Writer("Genkit", ("genkit-tracer",), ("genkit:",), "nothing, it is always recorded", _WITH_CONTENT),
    Writer(
        "Mastra",
        ("@mastra/",),
        ("mastra.",),
        "leave hideInput and hideOutput of tracingOptions unset",
        "",
        "it writes tool calls on the step around a model call only",
    ),
    Writer(
        "Langfuse",
        ("langfuse-sdk",),
        ("langfuse.",),
        "do not mask inputs and outputs",
        _WITH_CONTENT,
        "its JavaScript wrapper of openai merges parallel tool calls of a stream into one",
    ),
    Writer("LangWatch", ("langwatch",), ("langwatch.",), 'leave dataCapture at "all"', _WITH_CONTENT),
    Writer("Laminar", ("lmnr.tracer",), ("lmnr.",), "leave ignoreInput and ignoreOutput unset", _WITH_CONTENT),
    Writer(
        "LangSmith",
        ("langsmith",),
        ("langsmith.",),
        "leave LANGSMITH_HIDE_INPUTS and LANGSMITH_HIDE_OUTPUTS unset",
        _WITH_CONTENT,
    ),
    Writer("MLflow", ("mlflow",), (), "nothing, it is always recorded", _WITH_CONTENT),
    Writer(
        "Pydantic AI",
        ("pydantic-ai",),
        ("pydantic_ai.", "model_request_parameters"),
        "use InstrumentationSettings(include_content=True)",
        _WITH_CONTENT,
    ),
    Writer("Logfire", ("logfire",), ("logfire.",), "do not scrub messages", _WITH_CONTENT),
    Writer(
        "Google ADK",
        ("gcp.vertex.agent",),
        ("gcp.vertex.agent.",),
        "set ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS=true",
        _WITH_CONTENT,
    ),
    Writer(
        "Claude Code",
        ("com.anthropic.claude_code.",),
        (),
        "set OTEL_LOG_USER_PROMPTS=1 and OTEL_LOG_TOOL_DETAILS=1; with spans, also OTEL_LOG_TOOL_CONTENT=1",
        "",
        "it writes arguments only in log records, results only in spans, and the models' messages in neither",
    ),
    Writer("Strands", ("strands.",), (), "nothing, it is always recorded"),
    Writer(
        "OpenTelemetry's GenAI instrumentations for Python",
        ("opentelemetry.instrumentation.", "opentelemetry.util.genai"),
        (),
        f"set {_PYTHON}=SPAN_ONLY",
        _WITH_CONTENT,
    ),
)
"""All writers, the more specific ones first."""
_TRANSLATED: Final = WRITERS[0]


def writer_of(span: Span) -> Writer | None:
    """Return the writer of a span; None if it is unknown, or llmtrace itself."""
    if span.run_id is not None:
        return None
    names = tuple(span.attributes)
    if _has(names, ("ai.",)) and _has(names, ("openinference.", "llm.")):
        return _TRANSLATED
    scope = span.scope.name
    return next((writer for writer in WRITERS if _is_scope(scope, writer) or _has(names, writer.marks)), None)


def _is_scope(scope: str, writer: Writer) -> bool:
    return any(scope == name or ((name[-1:] in ".-/" or len(name) > 8) and scope.startswith(name)) for name in writer.scopes)


def _has(names: Iterable[str], marks: tuple[str, ...]) -> bool:
    return bool(marks) and any(name.startswith(marks) for name in names)


def writers_of(spans: Iterable[Span]) -> tuple[Writer, ...]:
    """Return the known writers of these spans without duplicates, in order."""
    return tuple(dict.fromkeys(writer for span in spans if (writer := writer_of(span)) is not None))
