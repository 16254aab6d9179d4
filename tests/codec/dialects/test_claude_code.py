"""Claude Code: a turn with two model calls and two tools, of which one failed, by its spans and by its log records alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from llmtrace.codec import genai, log_records, otlp
from llmtrace.codec.dialects import decode
from llmtrace.codec.log_records import LogRecord
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.model import AgentInvocation, Inference, Message, RawSpan, Text, ToolExecution, Trace, Usage
from llmtrace.semconv import CONVERSATION_ID
from llmtrace.store.memory import MemoryStore
from tests.codec.dialects.recordings import FOLDER, raws_of
from tests.codec.test_log_records import to_protobuf

ASKED, ANSWERED = "Where are my orders?", "KS-1 is on its way."


def requests() -> list[dict[str, Any]]:
    """The log records in the two requests in which they came."""
    return [json.loads(line) for line in (FOLDER / "claude_code_events.json").read_text().splitlines()]


def received(spans: list[RawSpan], *batches: list[LogRecord]) -> Trace:
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=60)
    ingestor.ingest(spans)
    for batch in batches:
        ingestor.ingest_logs(batch)
    ingestor.evaluate_all()
    ingestor.close()
    (found,) = store.traces()
    return store.trace(found.trace_id)


def check(trace: Trace) -> list[ToolExecution]:
    """What spans and log records both say. Returns the tools."""
    assert (len(trace.roots), trace.health) == (1, "recovered")
    agent = trace.root.operation
    assert isinstance(agent, AgentInvocation)
    assert (agent.name, agent.input) == ("Claude Code", (Message("user", (Text(ASKED),)),))
    calls = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    assert [(call.request_model, call.provider) for call in calls] == [("claude-opus-5-5", "anthropic")] * 2
    assert [call.usage for call in calls] == [Usage(21, 5, 9, 0)] * 2
    assert all(call.response_id for call in calls)
    assert all(call.time_to_first_chunk and call.time_to_first_chunk < 1 for call in calls)
    assert len({span.attributes[CONVERSATION_ID] for span in trace.spans}) == 1
    tools = {span.operation.name: span for span in trace.spans if isinstance(span.operation, ToolExecution)}
    assert [(name, tools[name].operation.call_id) for name in sorted(tools)] == [("Bash", "toolu_1"), ("Read", "toolu_2")]  # type: ignore[union-attr]
    assert tools["Bash"].failure is None
    assert tools["Read"].failure is not None
    assert "File does not exist" in str(tools["Read"].failure.message)
    return [span.operation for span in tools.values() if isinstance(span.operation, ToolExecution)]


def test_spans() -> None:
    """The result of a tool stands in an event; the step below a tool fails, and so the tool does."""
    raws = raws_of("claude_code")
    for raw in raws:
        assert decode(genai.encode(decode(raw))) == decode(raw)
    tools = check(received(raws))
    assert [tool.result for tool in tools if tool.name == "Bash"] == ["KS-1"]


def test_log_records_without_spans() -> None:
    """A turn is a trace, whatever the encoding, the requests in which its records come, and how often they come."""
    first, second = (log_records.from_json(request) for request in requests())
    from_protobuf = [log_records.from_protobuf(to_protobuf(request)) for request in requests()]
    for batches in ([[*first, *second]], [first, second, second], from_protobuf, [[record] for record in (*first, *second)]):
        trace = received([], *batches)
        tools = check(trace)
        assert len(trace.spans) == 5
        assert {tool.name: tool.arguments for tool in tools} == {
            "Bash": {"command": "echo KS-1", "description": "Say it"},
            "Read": {"file_path": "/nonexistent"},
        }
        assert [message.text() for message in trace.root.operation.output] == [ANSWERED]  # type: ignore[union-attr]
        assert trace.root.end == max(span.end or 0 for span in trace.spans)


def test_a_later_process_adds_to_a_turn() -> None:
    """A receiver that was started in mid-turn does not replace the agent, whose beginning it has not seen."""
    first, second = (log_records.from_json(request) for request in requests())
    later = [record for record in second if record.event.name != "claude_code.user_prompt"]
    trace = received([], later)
    assert {span.parent_id for span in trace.spans} == {first[-1].span_id}


def test_log_records_of_spans() -> None:
    """With spans, the answer of the turn comes as a log record of its span."""
    raws = raws_of("claude_code")
    (turn,) = [raw for raw in raws if raw.name == "claude_code.interaction"]
    attributes = [{"key": "event.name", "value": {"stringValue": "assistant_response"}}]
    attributes.append({"key": "response", "value": {"stringValue": ANSWERED}})
    record = {
        "timeUnixNano": str(turn.end),
        "traceId": turn.trace_id,
        "spanId": turn.span_id,
        "body": {"stringValue": "claude_code.assistant_response"},
        "attributes": attributes,
    }
    trace = received(raws, log_records.from_json({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))
    check(trace)
    assert [message.text() for message in trace.root.operation.output] == [ANSWERED]  # type: ignore[union-attr]


def sent(name: str) -> Iterator[tuple[list[RawSpan], list[LogRecord]]]:
    """The requests of a recorded session: spans or log records."""
    for line in (FOLDER / "requests" / name).read_text().splitlines():
        body = json.loads(json.loads(line)["body"])
        is_logs, is_spans = "resourceLogs" in body, "resourceSpans" in body
        yield otlp.from_json(json.dumps(body).encode()) if is_spans else [], log_records.from_json(body) if is_logs else []


@pytest.mark.parametrize("name", ["claude_code_logs.jsonl", "claude_code_logs_and_traces.jsonl"])
@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("is_later", [False, True])
def test_a_session_is_joined(name: str, step: int, is_later: bool) -> None:
    """Arguments, costs and the answer stand where they belong, whichever request comes first, and in a later process too.

    The model's server sent no request ids. The answer belongs to the last model call alone.
    """
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=60)
    for spans, records in [*sent(name)][::step]:
        if records and is_later and step == 1:
            ingestor.evaluate_all()
            ingestor.close()
            ingestor = Ingestor(store, content=Content(Config()), quiet=60)
        ingestor.ingest(spans)
        ingestor.ingest_logs(records)
    ingestor.evaluate_all()
    ingestor.close()
    (summary,) = store.traces()
    trace = store.trace(summary.trace_id)
    calls = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    assert [[message.text() for message in call.output] for call in calls] == [[], [], ["It is 4."]]
    assert [call.cost_usd for call in calls] == pytest.approx([0.0005974, 0.0006214, 0.0006454])
    tools = [span for span in trace.spans if isinstance(span.operation, ToolExecution)]
    assert [tool.operation.arguments for tool in tools] == [  # type: ignore[union-attr]
        {"command": "echo 4", "description": "say four"},
        {"file_path": "scratch/prov/ex/nothere.txt"},
    ]
    assert [tool.failure is None for tool in tools] == [True, False]
    assert [message.text() for message in trace.root.operation.output] == ["It is 4."]  # type: ignore[union-attr]
