"""Claude Code itself, as it comes with its SDK, before a scripted model server: what it sends to `llmtrace receive`."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.model import AgentInvocation, Inference, ToolExecution
from llmtrace.receiver import Receiver
from llmtrace.store.memory import MemoryStore

pytestmark = pytest.mark.all

CALLS = (("toolu_1", "Bash", {"command": "echo KS-1", "description": "Say it"}), ("toolu_2", "Read", {"file_path": "/absent"}))


class Model(BaseHTTPRequestHandler):
    """Asks for two tools at once, of which one fails, then answers."""

    numbers = itertools.count(1)

    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        has_results = "tool_result" in json.dumps(request["messages"])
        blocks = [{"type": "tool_use", "id": key, "name": name, "input": {}} for key, name, _ in CALLS]
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(given)} for *_, given in CALLS]
        if has_results:
            blocks, deltas = [{"type": "text", "text": ""}], [{"type": "text_delta", "text": "KS-1 is on its way."}]
        message = {"id": f"msg_{next(self.numbers)}", "type": "message", "role": "assistant", "model": request["model"]}
        usage = {"input_tokens": 12, "output_tokens": 1, "cache_read_input_tokens": 9}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": {**message, "content": [], "usage": usage}}]
        for index, (block, delta) in enumerate(zip(blocks, deltas, strict=True)):
            events.append({"type": "content_block_start", "index": index, "content_block": block})
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
            events.append({"type": "content_block_stop", "index": index})
        ended = {"stop_reason": "end_turn" if has_results else "tool_use", "stop_sequence": None}
        events += [{"type": "message_delta", "delta": ended, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("request-id", message["id"])
        self.end_headers()
        self.wfile.write("".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode())


@pytest.fixture
def model() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


SPANS = {"CLAUDE_CODE_ENHANCED_TELEMETRY_BETA": "1", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOG_TOOL_CONTENT": "1"}


@pytest.mark.parametrize("how", [{}, SPANS], ids=["log records", "spans"])
def test_a_turn_is_one_trace(how: dict[str, str], model: str, tmp_path: Path) -> None:
    """With its tree, tokens, question, answer and tools, by its log records and by the spans of its beta."""
    sdk = importlib.util.find_spec("claude_agent_sdk")
    program = Path(sdk.origin or "").parent / "_bundled" / "claude" if sdk is not None else Path()
    if sdk is None or not program.is_file():
        pytest.skip("Claude Code is not installed here; scripts/test --all has an environment for it")
    store = MemoryStore()
    ingestor = Ingestor(store, content=Content(Config()), quiet=60)
    receiver = Receiver(ingestor, http_port=0, grpc_port=None)
    settings = {
        "ANTHROPIC_BASE_URL": model,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_ENABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "HOME": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.http_port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_LOG_TOOL_DETAILS": "1",
        "OTEL_LOG_USER_PROMPTS": "1",
    }
    try:
        ran = subprocess.run(
            [str(program), "-p", "Where are my orders?", "--allowedTools", "Bash,Read"],
            env={"PATH": os.environ["PATH"], **settings, **how},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert "KS-1 is on its way." in ran.stdout, ran.stderr
        ingestor.evaluate_all()
    finally:
        receiver.close()
    (found,) = store.traces()
    trace = store.trace(found.trace_id)
    # only the spans hold results: without that of Bash it is not known whether it did the job of Read, which failed
    assert (len(trace.roots), trace.health) == (1, "suspect" if how else "recovered")
    agent = trace.root.operation
    assert isinstance(agent, AgentInvocation)
    texts = [message.text() for message in (*agent.input, *agent.output)]
    assert texts == ["Where are my orders?", "KS-1 is on its way."]
    calls = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    assert [(call.usage.input_tokens, call.usage.output_tokens) for call in calls if call.usage] == [(21, 5)] * 2
    tools = {span.operation.name: span for span in trace.spans if isinstance(span.operation, ToolExecution)}
    assert sorted(tools) == ["Bash", "Read"]
    assert (tools["Bash"].failure, tools["Read"].failure is None) == (None, False)
    ran_bash = tools["Bash"].operation
    assert isinstance(ran_bash, ToolExecution)
    assert (ran_bash.result == "KS-1") if how else (ran_bash.arguments == CALLS[0][2])
