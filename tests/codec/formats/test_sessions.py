"""Sessions that coding agents keep on disk, recorded from the real programs before a scripted model server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.codec import formats
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.model import AgentInvocation, Inference, RawSpan, Span, ToolExecution, Trace
from llmtrace.store.memory import MemoryStore

FOLDER = Path(__file__).parent / "exports"
MAIN, FIRST, SECOND = (f"claude_code_{name}_2.1.197.jsonl" for name in ("session", "agent_a", "agent_b"))
CODEX = "codex_session_0.171.0.jsonl"


def spans(data: bytes) -> list[RawSpan]:
    items = list(formats.read(io.BytesIO(data)))
    assert all(isinstance(item, RawSpan) for item in items)
    return [item for item in items if isinstance(item, RawSpan)]


def stored(*files: bytes) -> list[Trace]:
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=60)
    for data in files:
        ingestor.ingest(spans(data))
    ingestor.evaluate_all()
    ingestor.close()
    return [store.trace(summary.trace_id) for summary in store.traces()]


def data(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data(name).splitlines()]


def joined(documents: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def above(trace: Trace, span: Span) -> list[str]:
    """The names of the operations above a span, from the root."""
    names: list[str] = []
    while span.parent_id is not None:
        span = trace.span(span.parent_id)
        names.insert(0, getattr(span.operation, "name", ""))
    return names


@pytest.mark.parametrize("files", [(MAIN, FIRST, SECOND), (SECOND, MAIN, FIRST)])
def test_claude_code(files: tuple[str, ...]) -> None:
    """A prompt is a run, with both sub-agents below their tool calls, whichever file comes first."""
    (trace,) = stored(*map(data, files))
    assert len(trace.roots) == 1
    agent = trace.root.operation
    assert isinstance(agent, AgentInvocation)
    assert [message.text() for message in (*agent.input, *agent.output)] == ["MAIN do it", "ALL DONE"]
    calls = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    assert [(call.usage.input_tokens, call.usage.output_tokens) for call in calls if call.usage] == [(24, 5)] * 8
    assert all(call.cost_usd and call.response_id for call in calls)
    tools = [span for span in trace.spans if isinstance(span.operation, ToolExecution)]
    names = [tool.operation.name for tool in tools]  # type: ignore[union-attr]
    assert sorted(names) == ["Agent", "Agent", "Bash", "Bash", "Edit", "Read", "Write"]
    assert [name for name, tool in zip(names, tools, strict=True) if tool.failure is not None] == ["Read"]
    shells = [above(trace, tool) for name, tool in zip(names, tools, strict=True) if name == "Bash"]
    assert shells == [["Claude Code", "Agent", "sub-agent"]] * 2
    (edit,) = [tool for name, tool in zip(names, tools, strict=True) if name == "Edit"]
    assert "+three" in str(edit.attributes["claude_code.patch"])
    findings = {finding.name for span in trace.spans for finding in span.evaluations}
    assert findings <= {"failed_tool", "run"}, findings


def test_sub_agents_whose_ids_collide_or_whose_session_never_came() -> None:
    """Fourteen sub-agents on three ids keep their own spans; without the session they are one trace still."""
    files = []
    for number in range(14):
        documents = lines(FIRST)
        for document in documents:
            document["agentId"] = f"a{number % 3}"
            document["uuid"] += str(number)
        files.append(joined(documents))
    (trace,) = stored(*files)
    assert sum(isinstance(span.operation, AgentInvocation) for span in trace.spans) == 14
    assert sum(isinstance(span.operation, ToolExecution) for span in trace.spans) == 14


def test_an_older_session_with_its_sub_agents_inside() -> None:
    """They have no id; the prompt of each is that of a tool call."""
    inside = [{name: value for name, value in line.items() if name not in ("agentId", "promptId")} for line in lines(FIRST)]
    session = [
        {name: value for name, value in line.items() if name not in ("toolUseResult", "promptId")} for line in lines(MAIN)
    ]
    at = next(index for index, line in enumerate(session) if "tool_result" in json.dumps(line))
    (trace,) = stored(joined([*session[:at], *inside, *session[at:]]))
    (shell,) = [span for span in trace.spans if getattr(span.operation, "name", "") == "Bash"]
    assert above(trace, shell) == ["Claude Code", "Agent", "sub-agent"]


def test_a_compaction_is_named_and_ends_what_the_model_sees() -> None:
    session = lines(MAIN)
    at = next(index for index, line in enumerate(session) if '"msg_9"' in json.dumps(line))
    common = {name: session[at][name] for name in ("sessionId", "timestamp", "isSidechain", "parentUuid")}
    boundary = {**common, "type": "system", "subtype": "compact_boundary", "uuid": "c1"}
    boundary["compactMetadata"] = {"trigger": "auto", "preTokens": 155000}
    message = {"role": "user", "content": "This session is being continued."}
    summary = {**common, "type": "user", "uuid": "c2", "isCompactSummary": True, "message": message}
    raws = spans(joined([*session[:at], boundary, summary, *session[at:]]))
    (compaction,) = [raw for raw in raws if raw.name == "compact context"]
    assert compaction.attributes["claude_code.compaction.tokens_before"] == 155000
    calls = [raw for raw in raws if raw.name.startswith("chat")]
    assert [sc.REQUEST_PREVIOUS_RESPONSE_ID in call.attributes for call in calls] == [False, True, False, True]
    assert "This session is being continued." in str(calls[2].attributes[sc.INPUT_MESSAGES])
    assert sum(raw.attributes.get(sc.OPERATION_NAME) == sc.INVOKE_AGENT for raw in raws) == 1


def test_codex() -> None:
    (trace,) = stored(data(CODEX))
    agent = trace.root.operation
    assert isinstance(agent, AgentInvocation)
    assert [message.text() for message in (*agent.input, *agent.output)] == ["Say hi", "It says hi."]
    calls = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    assert [(call.request_model, call.usage and call.usage.input_tokens, call.response_id) for call in calls] == [
        ("gpt-5.1-codex", 100, "resp_1"),
        ("gpt-5.1-codex", 100, "resp_2"),
    ]
    tools = [span for span in trace.spans if isinstance(span.operation, ToolExecution)]
    assert [tool.operation.arguments for tool in tools] == [{"cmd": "echo hi"}, {"cmd": "ls /absent"}]  # type: ignore[union-attr]
    assert [tool.failure is None for tool in tools] == [True, False]


@pytest.mark.parametrize("name", [MAIN, FIRST, CODEX])
def test_a_session_that_is_still_written(name: str) -> None:
    """Every beginning of a file is read, and the rest completes it under the same ids."""
    whole = {span.span_id for span in spans(data(name))}
    documents = lines(name)
    for end in range(len(documents) + 1):
        part = spans(joined(documents[:end]))
        assert {span.span_id for span in part} <= whole
