"""Laws of every dialect: decoding never raises, loses nothing that it did not understand, and leaves our own spans alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.codec.dialects import decode, dialects, marks
from llmtrace.model import Event, RawSpan, Scope
from tests import strategies as some
from tests.codec.dialects.recordings import NAMES, raws_of

KEYS = [
    *sorted({key for name in NAMES for raw in raws_of(name) for key in raw.attributes}),
    "ai.operationId",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.prompt.tools",
    "ai.response.toolCalls",
    "gen_ai.prompt.0.content",
    "gen_ai.prompt.0.tool_calls.0.arguments",
    "gen_ai.completion.0.content",
    "llm.request.functions.0.parameters",
    "all_messages_events",
    "gcp.vertex.agent.llm_request",
    "gen_ai.usage.prompt_tokens",
    "retrieval.documents.0.document.content",
    "langfuse.observation.type",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.observation.usage_details",
    "genkit:type",
    "genkit:metadata:subtype",
    "genkit:input",
    "genkit:output",
    "mastra.span.type",
    "mastra.model_step.input",
    "mastra.model_step.output",
    "koog.event.id",
    "request_data",
    "response_data",
    "logfire.msg",
    "gen_ai.prompt",
    "gen_ai.completion",
]
EVENTS = [
    "gen_ai.user.message",
    "gen_ai.choice",
    "gen_ai.client.inference.operation.details",
    "gen_ai.tool.message",
    "exception",
]
ODD = st.one_of(
    some.json_values(),
    st.sampled_from(
        [
            "LLM",
            "TOOL",
            "AGENT",
            "chat",
            "execute_tool",
            "ai.generateText.doGenerate",
            "ai.toolCall",
            "tool",
            "{",
            "[",
            "[1]",
            '{"a":',
        ],
    ),
    st.sampled_from(
        ['{"args": [1], "kwargs": {}}', '[{"role": 1, "content": [{}]}]', '{"tools": [{"function": 3}], "n": null}']
    ),
)
RAWS = st.builds(
    RawSpan,
    st.just("1" * 32),
    st.just("2" * 16),
    st.sampled_from(["llm_request", "span", "a.b"]),
    st.just(1),
    attributes=st.dictionaries(st.sampled_from(KEYS), ODD, max_size=12),
    events=st.lists(
        st.builds(
            Event, st.sampled_from(EVENTS), st.just(1), st.dictionaries(st.sampled_from(["content", "message", "id"]), ODD)
        ),
        max_size=3,
    ).map(tuple),
    scope=st.sampled_from([Scope(), Scope("vllm.tracing.otel")]),
)


@settings(max_examples=300, deadline=None)
@given(RAWS)
def test_any_span_is_read(raw: RawSpan) -> None:
    """Whatever stands under the names that dialects know, a span comes out, and it is read again as itself."""
    span = decode(raw)
    assert (span.trace_id, span.span_id, span.name, span.start) == (raw.trace_id, raw.span_id, raw.name, raw.start)
    assert some.alike(genai.decode(genai.encode(span)), span)


@settings(max_examples=100, deadline=None)
@given(some.spans())
def test_our_own_spans_are_no_dialects(span: Any) -> None:
    """A span of a run of ours is read by the conventions alone, whatever a user's attribute is called."""
    raw = genai.encode(span)
    if sc.RUN_ID in raw.attributes:
        assert some.alike(decode(raw), span)


def test_a_failing_dialect_costs_its_own_reading_only(monkeypatch: Any) -> None:
    """An error in a dialect leaves the span as the conventions read it."""
    raw = RawSpan("1" * 32, "2" * 16, "s", 1, attributes={"openinference.span.kind": "LLM", sc.OPERATION_NAME: "chat"})
    for dialect in dialects():
        monkeypatch.setattr(dialect, "read", lambda _: 1 / 0)
    assert decode(raw) == genai.decode(raw)


def test_spans_of_no_dialect_are_asked_for_little() -> None:
    """A span of a web server or a database is known by none."""
    raw = RawSpan("1" * 32, "2" * 16, "GET /", 1, attributes={"http.request.method": "GET", "db.system": "postgresql"})
    assert not any(dialect.knows(raw) for dialect in dialects())


@settings(max_examples=300, deadline=None)
@given(RAWS)
def test_what_a_dialect_knows_bears_a_mark(raw: RawSpan) -> None:
    """So a database can tell which spans are in no dialect's writing."""
    names = {raw.name, *raw.attributes, *(event.name for event in raw.events)}
    for dialect in dialects():
        if dialect.knows(raw):
            assert names & dialect.marks
            assert dialect.marks <= marks()


def test_every_recorded_mark_is_found() -> None:
    """Of the spans that libraries really emit, too."""
    for raw in (raw for name in NAMES for raw in raws_of(name)):
        if any(dialect.knows(raw) for dialect in dialects()):
            assert {raw.name, *raw.attributes, *(event.name for event in raw.events)} & marks()
