"""Where another instrumentation of a library is on beside ours, in either order, there is one inference a call."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from llmtrace.demo.server import MODEL, ModelServer
from llmtrace.model import Inference
from llmtrace.store import Query, open_store

CONTRACT = Path(__file__).resolve().parents[1] / "instrumentation" / "contract"

OTHERS = {
    "openai, official": ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    "openai, openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    "anthropic, official": ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor"),
    "anthropic, openinference": ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
    "google_genai, official": ("opentelemetry.instrumentation.google_genai", "GoogleGenAiSdkInstrumentor"),
    "google_genai, openinference": ("openinference.instrumentation.google_genai", "GoogleGenAIInstrumentor"),
    "langchain, official": ("opentelemetry.instrumentation.genai.langchain", "LangChainInstrumentor"),
    "langchain, openinference": ("openinference.instrumentation.langchain", "LangChainInstrumentor"),
}
"""Library and whose it is; the instrumentor's module and name."""

BEGIN = """
import asyncio, sys
import llmtrace
from {module} import {name}
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

PROVIDER
ORDER
"""

PLAIN = """
sys.path[:0] = [sys.argv[3], sys.argv[3] + "/.."]
from kit import Answer, Question
from server import Server
from way import load

kit = load(sys.argv[4])

async def calls(client):
    await kit.ask(client, Question())
    stream = kit.stream(client, Question())
    async for chunk in (await stream if hasattr(stream, "__await__") else stream):
        pass
    closed = kit.close(client)
    if closed is not None:
        await closed

with Server(kit.whole(Answer()), kit.streamed(Answer()), kit.whole(Answer()), kit.streamed(Answer())) as server:
    client = kit.client(server.url)
    kit.ask(client, Question())
    for chunk in kit.stream(client, Question()):
        pass
    kit.close(client)
    asyncio.run(calls(kit.client(server.url, asynchronous=True)))
"""

LANGCHAIN = """
from langchain_openai import ChatOpenAI

model = ChatOpenAI(base_url=sys.argv[1], api_key="none", model=sys.argv[2])
model.invoke("Refund order KS-20418.")
for chunk in model.stream("Refund order KS-20418."):
    pass

async def calls():
    await model.ainvoke("Refund order KS-20418.")
    async for chunk in model.astream("Refund order KS-20418."):
        pass

asyncio.run(calls())
"""


@pytest.mark.all
@pytest.mark.parametrize("provider", ["none", "own"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("other", OTHERS)
def test_one_inference_a_call(other: str, first: str, provider: str, tmp_path: Path) -> None:
    """Whole and streamed, by the sync and by the async client; ours is the inference that is kept."""
    module, name = OTHERS[other]
    library = other.partition(",")[0]
    try:
        importlib.import_module(module)
    except ImportError:
        pytest.skip(f"{module} is not installed here; scripts/test --all has an environment for it")
    ours, theirs = f"llmtrace.configure(store={str(tmp_path / 'store')!r})", f"{name}().instrument()"
    order = [ours, theirs] if first == "ours" else [theirs, ours]
    own = "trace.set_tracer_provider(TracerProvider())" if provider == "own" else ""
    program = BEGIN.format(module=module, name=name).replace("ORDER", "\n".join(order)).replace("PROVIDER", own)
    (tmp_path / "program.py").write_text(program + (LANGCHAIN if library == "langchain" else PLAIN))
    with ModelServer(pace=0) as server:
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "program.py", server.url, MODEL, str(CONTRACT), library],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    store = open_store(str(tmp_path / "store"))
    spans = [span for one in store.traces(Query(limit=100)) for span in store.trace(one.trace_id).spans]
    store.close()
    found = [span for span in spans if isinstance(span.operation, Inference)]
    assert len(found) == 4, [(span.name, span.scope.name) for span in spans]
    assert all(span.run_id is not None and span.scope.name == "llmtrace" for span in found)
    assert all(span.operation.output for span in found)
