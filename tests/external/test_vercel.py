"""The same scripted agent, traced by Vercel's AI SDK on Node: by OTLP, its record of the calls means the same as our own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_writers import PROGRAM, native_trace, script

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.demo.server import ModelServer
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Inference, Trace
from llmtrace.receiver import Receiver
from llmtrace.store import Query, open_store

pytestmark = pytest.mark.all

NODE_PACKAGES = (
    "ai@7",
    "@ai-sdk/openai-compatible",
    "@ai-sdk/otel",
    "@opentelemetry/exporter-trace-otlp-http",
    "@opentelemetry/sdk-trace-node",
)


@pytest.fixture(scope="module")
def vercel_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same agent for Vercel's AI SDK, in a folder with its packages."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed here")
    folder = tmp_path_factory.mktemp("vercel")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", *NODE_PACKAGES]
    if subprocess.run(install, cwd=folder, capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("Vercel's AI SDK could not be installed")
    return Path(shutil.copy(PROGRAM.with_name("vercel.mjs"), folder))


@pytest.mark.parametrize("how", ["whole", "stream"])
def test_vercels_record_means_the_same(how: str, vercel_program: Path, tmp_path: Path) -> None:
    """On Node, by OTLP: the calls with their arguments, the tools on offer, the tokens of the answer and the verdict on the
    wrong call. What was sent is the SDK's own form, so its tokens are others."""
    store = open_store(str(tmp_path / "store"))
    ingestor = Ingestor(store, content=Content(Config()), quiet=60)
    receiver = Receiver(ingestor, http_port=0, grpc_port=None)
    try:
        with ModelServer(script, pace=0) as server:
            ran = subprocess.run(
                ["node", str(vercel_program), server.url, f"http://127.0.0.1:{receiver.http_port}/v1/traces", how],
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
        assert ran.returncode == 0, ran.stderr
        ingestor.evaluate_all()
    finally:
        receiver.close()
    (found,) = [store.trace(one.trace_id) for one in store.traces(Query(limit=10))]
    store.close()
    native = native_trace(how)
    assert len(found.roots) == 1
    assert calls_of(found) == calls_of(native)


def calls_of(trace: Trace) -> list[Any]:
    """What model calls answered, with tokens and the verdicts on them."""
    calls = [(span, span.operation) for _, span in trace.walk() if isinstance(span.operation, Inference)]
    return [
        (
            operation.request_model,
            [message.text() for message in operation.output],
            [(call.id, call.name, call.arguments) for message in operation.output for call in message.tool_calls()],
            [tool.name for tool in operation.tools],
            operation.usage and operation.usage.output_tokens,
            [(violation.code, violation.pointer) for violation in span.violations],
        )
        for span, operation in calls
    ]
