"""Where another instrumentation of openai is on beside ours, in either order, there is one inference a call."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from llmtrace.demo.server import MODEL, ModelServer
from llmtrace.model import Inference
from llmtrace.store import Query, open_store

OTHERS = {
    "official": ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor"),
    "openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
}

PROGRAM = """
import sys, openai, llmtrace
from {module} import {name}
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

PROVIDER
ORDER
client = openai.OpenAI(base_url=sys.argv[1], api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False))
asked = dict(model=sys.argv[2], messages=[{{"role": "user", "content": "Refund order KS-20418."}}])
client.chat.completions.create(**asked)
for chunk in client.chat.completions.create(stream=True, **asked):
    pass
"""


@pytest.mark.all
@pytest.mark.parametrize("provider", ["none", "own"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("other", OTHERS)
def test_one_inference_a_call(other: str, first: str, provider: str, tmp_path: Path) -> None:
    """Whole and streamed; ours is the inference that is kept, with its messages."""
    module, name = OTHERS[other]
    try:
        importlib.import_module(module)
    except ImportError:
        pytest.skip(f"{module} is not installed here; scripts/test --all has an environment for it")
    ours, theirs = f"llmtrace.configure(store={str(tmp_path / 'store')!r})", f"{name}().instrument()"
    order = [ours, theirs] if first == "ours" else [theirs, ours]
    program = PROGRAM.format(module=module, name=name).replace("ORDER", "\n".join(order))
    own = "trace.set_tracer_provider(TracerProvider())" if provider == "own" else ""
    (tmp_path / "program.py").write_text(program.replace("PROVIDER", own))
    with ModelServer(pace=0) as server:
        ran = subprocess.run(
            [sys.executable, "program.py", server.url, MODEL], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    store = open_store(str(tmp_path / "store"))
    spans = [span for one in store.traces(Query(limit=100)) for span in store.trace(one.trace_id).spans]
    store.close()
    found = [span for span in spans if isinstance(span.operation, Inference)]
    assert len(found) == 2, [span.name for span in spans]
    assert all(span.run_id is not None and span.scope.name == "llmtrace" for span in found)
