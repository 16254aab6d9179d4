"""Lists other writers of spans: how to recognise each, and which settings make it record content and tool schemas. Also
finds writers whose spans llmtrace cannot read.

`diagnosis.visibility` names the setting that would have made a check possible. docs/reference/writers.md comes from this list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.model import Custom, JsonValue, Span, Trace
from llmtrace.text.patterns import lazy_pattern


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
        "set OTEL_LOG_USER_PROMPTS=1 and OTEL_LOG_TOOL_DETAILS=1; with spans, also OTEL_LOG_TOOL_CONTENT=1. "
        "The messages to the model are only in its session on disk, which llmtrace import reads",
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


# -- writers whose spans cannot be read

PREFIXES: Final = (
    "gen_ai.",
    "llm.",
    "ai.",
    "openinference.",
    "traceloop.",
    "pydantic_ai.",
    "langfuse.",
    "genkit:",
    "mastra.",
    "spring.ai.",
    "langsmith.",
    "smolagents.",
    "crewai.",
)
"""Prefixes of attributes in which libraries record models, agents and tools."""
_WORD: Final = lazy_pattern(r"[A-Z]?[a-z]+|[A-Z]+")
_WORDS: Final = frozenset({"llm", "prompt", "prompts", "completion", "completions", "genai", "toolcall", "toolcalls"})
_PAIRS: Final = (
    (frozenset({"tool", "function"}), frozenset({"call", "calls", "arguments", "args", "result", "schema"})),
    (frozenset({"input", "output", "total"}), frozenset({"tokens"})),
    (frozenset({"chat", "agent", "assistant"}), frozenset({"messages", "message", "model", "response"})),
)
"""An attribute with a word of both sets in its name records a model or a tool."""
_MESSAGE: Final = lazy_pattern(r'"role"\s*:\s*"(?:user|assistant|system|tool|model|human|ai)"', re.IGNORECASE)
_MAX_NAMES: Final = 3
_MAX_SEARCHED: Final = 4096
"""Number of characters of a text that are searched for a message."""


class UnreadWriter(NamedTuple):
    name: str
    """Name of its scope, or of its first span if the scope has none."""
    attributes: tuple[str, ...]
    """A few names of attributes that look like content."""


def unread_writers(trace: Trace) -> tuple[UnreadWriter, ...]:
    """Return the scopes whose spans seem to record models, agents or tools, but of which no span could be read as one.

    llmtrace cannot check what they record. Their spans stay plain steps with all attributes.
    """
    read = {span.scope.name for span in trace.spans if span.run_id is not None or not isinstance(span.operation, Custom)}
    names: dict[str, dict[str, None]] = {}
    for span in trace.spans:
        if span.scope.name not in read and looks_like_agent(span):
            names.setdefault(span.scope.name or span.name, {}).update(dict.fromkeys(_content_attributes(span.attributes)))
    return tuple(UnreadWriter(name, tuple(keys)[:_MAX_NAMES]) for name, keys in names.items())


def looks_like_agent(span: Span) -> bool:
    """Return True if another writer's plain span seems to record models, agents or tools."""
    if span.run_id is not None or sc.SAME_CALL in span.attributes:
        return False
    return any(key.startswith(PREFIXES) for key in span.attributes) or bool(_content_attributes(span.attributes))


def _content_attributes(attributes: Mapping[str, JsonValue]) -> list[str]:
    return [key for key, value in attributes.items() if _is_content(key, value)]


def _is_content(key: str, value: JsonValue) -> bool:
    words = frozenset(word.lower() for word in _WORD.findall(key))
    if not words.isdisjoint(_WORDS):
        return True
    if any(not words.isdisjoint(first) and not words.isdisjoint(second) for first, second in _PAIRS):
        return True
    return isinstance(value, str) and _MESSAGE.search(value, 0, _MAX_SEARCHED) is not None
