"""The same scripted agent, its model calls traced by each of the other writers in Python: what they record of it means the same
as our own record, and beside ours each call is one inference. The program is ``writers/agent.py``."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo import server
from llmtrace.demo.server import ModelServer
from llmtrace.model import AgentInvocation, Inference, Span, ToolExecution, Trace
from llmtrace.model.operations import CALLED
from llmtrace.store import Query, open_store

pytestmark = pytest.mark.all

PROGRAM = Path(__file__).parent / "writers" / "agent.py"
MODULES = {
    "openinference": "openinference.instrumentation.openai",
    "genai_openai": "opentelemetry.instrumentation.genai.openai",
    "openllmetry": "opentelemetry.instrumentation.openai",
    "logfire": "logfire",
    "langfuse": "langfuse",
    "openlit": "openlit",
}
NAMES_NO_FINISH_REASON = {"langfuse"}
NAMES_NO_TOOLS = {"openlit"}
"""Writers whose spans do not have the tools on offer, so calls cannot be judged."""


def script(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Ask for two tools at once, one of them wrongly, then answer."""
    if any(message.get("role") == "tool" for message in messages):
        return {"role": "assistant", "content": "KS-1 is on its way."}
    arguments = ('{"order_id": "KS-1"}', '{"order_id": 2}')
    calls = [
        {"id": f"call_{number}", "type": "function", "function": {"name": "look_up", "arguments": text}}
        for number, text in enumerate(arguments, 1)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


@contextlib.contextmanager
def answering_as_openai() -> Iterator[None]:
    """The server says which tokens were cached and thought, as OpenAI's does: without these, OpenLIT fails on whole answers."""
    completion = server._completion

    def with_details(*arguments: Any) -> dict[str, Any]:
        answer = completion(*arguments)
        details = {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
        return {**answer, "usage": {**answer["usage"], **details}}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server, "_completion", with_details)
        yield


def is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor what it is a part of
        return False


def trace_of(writer: str, how: str, store: Path, *, ours: bool) -> Trace:
    """Run the agent. ``ours``: llmtrace records its model calls, too."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "LLMTRACE_", "OTEL_"))}
    more = {"LLMTRACE_STORE": str(store), "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}
    with answering_as_openai(), ModelServer(script, pace=0) as model:
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", str(PROGRAM), writer, model.url, how],
            env={**kept, **more, **({} if ours else {"LLMTRACE_INSTRUMENT": ""})},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    opened = open_store(str(store))
    (found,) = [opened.trace(one.trace_id) for one in opened.traces(Query(limit=10))]
    opened.close()
    return found


@functools.cache
def native_trace(how: str) -> Trace:
    """Our own record of the agent."""
    with tempfile.TemporaryDirectory() as folder:
        return trace_of("native", how, Path(folder, "store"), ours=True)


def meaning(trace: Trace, *, finish: bool = True, tools: bool = True) -> list[Any]:
    """What the trace says of agent, calls and tools, in order: who wrote it and what stands between left out.

    ``finish``: finish reasons, too. ``tools``: the tools on offer and the verdicts, too."""
    return [said for _, span in trace.walk() if (said := _meaning(trace, span, finish=finish, tools=tools)) is not None]


def _meaning(trace: Trace, span: Span, *, finish: bool, tools: bool) -> tuple[Any, ...] | None:
    operation = span.operation
    verdicts = [violation.code for violation in span.violations] + [
        one.name for one in span.evaluations if one.severity != "info"
    ]
    verdicts = verdicts if tools else []
    around = trace.parent(span)
    while around is not None and not isinstance(around.operation, AgentInvocation):
        around = trace.parent(around)
    place = None if around is None else around.name
    if isinstance(operation, Inference):
        usage = operation.usage
        return (
            place,
            operation.request_model,
            [text for message in operation.input if (text := message.text())],  # some leave out what has none
            [message.text() for message in operation.output],
            [(call.id, call.name, call.arguments) for message in operation.output for call in message.tool_calls()],
            [tool.name for tool in operation.tools if tools],
            None if usage is None else (usage.input_tokens, usage.output_tokens),
            ["tool_call" if reason in CALLED else reason for reason in operation.finish_reasons if finish],
            verdicts,
        )
    if isinstance(operation, ToolExecution):
        return place, operation.name, operation.call_id, operation.arguments, operation.result, verdicts
    if isinstance(operation, AgentInvocation):
        return place, operation.name, verdicts
    return None


@pytest.mark.parametrize("how", ["whole", "stream"])
@pytest.mark.parametrize("ours", [False, True], ids=["alone", "beside ours"])
@pytest.mark.parametrize("writer", MODULES)
def test_another_writers_record_means_the_same(writer: str, ours: bool, how: str, tmp_path: Path) -> None:
    """Tree, calls, usage and verdicts are those of our own record; one trace, one run."""
    if not is_here(MODULES[writer]):
        pytest.skip(f"{writer} is not installed here; scripts/test --all has an environment for it")
    native = native_trace(how)
    assert len(meaning(native)) == 5
    theirs = trace_of(writer, how, tmp_path / "theirs", ours=ours)
    assert len(theirs.roots) == 1
    assert len({span.run_id for span in theirs.spans}) == 1
    finish = ours or writer not in NAMES_NO_FINISH_REASON
    tools = ours or writer not in NAMES_NO_TOOLS
    assert meaning(theirs, finish=finish, tools=tools) == meaning(native, finish=finish, tools=tools)
    assert theirs.health == native.health
