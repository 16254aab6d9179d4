"""An agent in TypeScript, with Vercel's AI SDK and OpenTelemetry, sends to `llmtrace receive`; `why` says what happened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import AgentInvocation, Custom, Inference, ToolExecution, Usage
from llmtrace.store import open_store
from tests.receiver.test_forward import receiving

AGENT = Path(__file__).parent / "vercel_ai"


@pytest.fixture
def program(pytestconfig: pytest.Config) -> Path:
    """The agent beside its packages, which pytest's cache keeps."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None or pytestconfig.cache is None:
        pytest.skip("Node and npm are not on the PATH")
    folder = Path(pytestconfig.cache.mkdir("vercel_ai"))
    for file in AGENT.iterdir():
        shutil.copy(file, folder)
    install = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefer-offline"]
    if subprocess.run(install, cwd=folder, capture_output=True).returncode:
        pytest.skip("npm cannot install the AI SDK here")
    return folder / "agent.mjs"


def ask(store: Path, *command: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "llmtrace", *command, "--json", "--store", str(store)], capture_output=True)
    return json.loads(done.stdout)


@pytest.mark.all
@pytest.mark.timeout(300)
def test_a_typescript_agent_is_read_and_judged(program: Path, tmp_path: Path) -> None:
    """A good run and one whose tool failed: the tree, the calls, the tokens and the verdicts."""
    with receiving(tmp_path) as port:
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "NO_PROXY": "127.0.0.1"}
        subprocess.run(["node", str(program)], env=environment, check=True, timeout=120)
    bad, good = ask(tmp_path, "ls")
    assert [(run["health"], run["answer"]) for run in (good, bad)] == [
        ("ok", "Order A-1001 was sent."),
        ("suspect", "Done, I refunded order A-1001."),
    ]
    assert good["findings"] == []
    trace = open_store(str(tmp_path)).trace(good["trace_id"])
    walked = [(depth, span.operation) for depth, span in trace.walk()]
    assert [(depth, type(operation)) for depth, operation in walked] == [
        (0, AgentInvocation),
        *((1, Custom), (2, Inference), (2, ToolExecution)),
        *((1, Custom), (2, Inference)),
    ]
    first, call = walked[2][1], walked[3][1]
    assert isinstance(first, Inference)
    assert isinstance(call, ToolExecution)
    assert (first.provider, first.request_model, first.finish_reasons) == ("openai", "gpt-4o-mini", ("tool_call",))
    assert first.usage == Usage(80, 12, 20, 0)
    assert [tool.name for tool in first.tools] == ["lookUp", "refund"]
    assert first.output[0].tool_calls()[0].id == call.call_id == "call_lookUp"
    assert (call.arguments, call.result) == ({"orderId": "A-1001"}, {"orderId": "A-1001", "state": "sent"})
    assert ask(tmp_path, "why", good["trace_id"])["suspects"] == []
    (suspect,) = ask(tmp_path, "why", bad["trace_id"])["suspects"]
    assert (suspect["check"], suspect["label"], suspect["confidence"]) == ("failed_tool", "never_succeeded", "certain")
