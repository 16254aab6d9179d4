"""What vLLM does to a process that traces, and what llmtrace must not do to vLLM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from opentelemetry import trace

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.receiver import Receiver
from llmtrace.store import Query, open_store
from llmtrace.store.memory import MemoryStore

IN_PROCESS = """
import os, random, sys
import llmtrace
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

if {own}:
    mine = TracerProvider()
    trace.set_tracer_provider(mine)
llmtrace.configure(store={store!r})
assert not [name for name in sys.modules if name.partition(".")[0] in ("vllm", "torch")], "llmtrace imported it"
from vllm import LLM, SamplingParams

if __name__ == "__main__":
    options = dict(enforce_eager=True, kv_cache_memory_bytes=64 << 20, max_model_len=256, served_model_name="tiny")
    for _ in range(2):
        llm = LLM({model!r}, **options)   # seeds random, each time alike
        with llmtrace.span("step"):
            llm.generate("The", SamplingParams(max_tokens=2), use_tqdm=False)
        del llm
    assert not {own} or trace.get_tracer_provider() is mine, "somebody took the program's provider"
    llmtrace.shutdown()
"""


def _run(tmp_path: Path, model: str, *, own: bool) -> Any:
    store = str(tmp_path / "store")
    program = tmp_path / "program.py"
    program.write_text(IN_PROCESS.format(own=own, store=store, model=model))
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""}
    ran = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    kept = open_store(store)
    traces = [kept.trace(one.trace_id) for one in kept.traces(Query(limit=100))]
    kept.close()
    return traces


def test_ids_do_not_repeat_although_the_engine_seeds_random(tmp_path: Path, model: str) -> None:
    """Two engines in one process, each of which calls ``random.seed(0)``: every trace and span has an id of its own."""
    traces = [one for one in _run(tmp_path, model, own=False) if one.root.name == "step"]
    assert len(traces) == 2
    ids = [span.span_id for one in traces for span in one.spans]
    assert len(ids) == len(set(ids)) == 4
    assert "e3e70682c2094cac629f6fbed82c07cd" not in {one.trace_id for one in traces}


def test_the_programs_provider_stays(tmp_path: Path, model: str) -> None:
    """A program that set its own TracerProvider has it still; our spans are there all the same."""
    traces = _run(tmp_path, model, own=True)
    assert sorted(span.name for one in traces for span in one.spans if span.run_id is not None) == [
        "step",
        "step",
        "text_completion tiny",
        "text_completion tiny",
    ]


TRACED = """
import llmtrace

if __name__ == "__main__":
    llmtrace.configure(store={store!r})
    from vllm import LLM, SamplingParams
    options = dict(enforce_eager=True, kv_cache_memory_bytes=64 << 20, max_model_len=256, served_model_name="tiny")
    llm = LLM({model!r}, otlp_traces_endpoint={endpoint!r}, disable_log_stats=False, **options)  # without, vLLM fails itself
    with llmtrace.span("step"):
        llm.generate(["The", "A"], SamplingParams(max_tokens=2), use_tqdm=False)
    from opentelemetry import trace
    trace.get_tracer_provider().shutdown()
    llmtrace.shutdown()
"""


def test_an_engine_in_the_process_that_traces_writes_below_ours(tmp_path: Path, model: str) -> None:
    """With an OTLP endpoint of its own, vLLM has its own provider, sends its spans there itself, and each is the child of the
    span of its prompt."""
    memory, store = MemoryStore(), str(tmp_path / "store")
    program = tmp_path / "program.py"
    with Receiver(Ingestor(memory, content=Content(Config())), http_port=0, grpc_port=None) as receiver:
        endpoint = f"http://127.0.0.1:{receiver.http_port}/v1/traces"
        program.write_text(TRACED.format(model=model, endpoint=endpoint, store=store))
        told = {**os.environ, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
        ran = subprocess.run([sys.executable, str(program)], env=told, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    kept = open_store(store)
    (step,) = [trace for one in kept.traces(Query(limit=100)) if (trace := kept.trace(one.trace_id)).root.name == "step"]
    kept.close()
    ours = {span.span_id for span in step.spans if span.name.startswith("text_completion")}
    theirs = [span for span in memory.trace(step.trace_id).spans if span.name == "llm_request"]
    assert {span.parent_id for span in theirs} == ours
    assert len(theirs) == len(ours) == 2


KILLED = """
import os, signal, time
import llmtrace

if __name__ == "__main__":
    llmtrace.configure(store={store!r})
    from vllm import LLM, SamplingParams
    options = dict(enforce_eager=True, kv_cache_memory_bytes=64 << 20, max_model_len=256, served_model_name="tiny")
    llm = LLM({model!r}, **options)
    llm.enqueue(["a", "b", "c"], [SamplingParams(max_tokens=most, ignore_eos=True) for most in (2, 2, 100)], use_tqdm=False)
    while not any(output.finished for output in llm.llm_engine.step()):
        pass
    time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_is_finished_of_a_batch_that_is_killed_is_in_the_store(tmp_path: Path, model: str) -> None:
    """With its answer; what was under way is there, unfinished, and so is the batch."""
    store, program = str(tmp_path / "store"), tmp_path / "program.py"
    program.write_text(KILLED.format(store=store, model=model))
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr[-2000:]
    kept = open_store(store)
    (one,) = [kept.trace(summary.trace_id) for summary in kept.traces(Query(limit=100))]
    kept.close()
    assert (one.root.name, one.root.end) == ("LLM.enqueue", None)
    prompts = [span for span in one.spans if span is not one.root]
    assert sorted(span.end is not None for span in prompts) == [False, True, True]
    assert all(span.operation.output[0].text() for span in prompts if span.end is not None)


CHILDREN = """
import os
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
import llmtrace

if __name__ == "__main__":
    llmtrace.configure(store="off")
    from vllm import LLM, SamplingParams
    llm = LLM({model!r}, enforce_eager=True, kv_cache_memory_bytes=64 << 20, max_model_len=256)
    llm.generate("The", SamplingParams(max_tokens=2), use_tqdm=False)
    assert os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == {endpoint!r}
    llmtrace.shutdown()
"""


def test_children_do_not_export_what_nobody_asked_for(tmp_path: Path, model: str) -> None:
    """With the program's own OTLP endpoint in the environment, the engine's processes send no spans of their start there, and
    the variable is where it was."""
    memory = MemoryStore()
    program = tmp_path / "program.py"
    with Receiver(Ingestor(memory, content=Content(Config())), http_port=0, grpc_port=None) as receiver:
        endpoint = f"http://127.0.0.1:{receiver.http_port}/v1/traces"
        program.write_text(CHILDREN.format(model=model, endpoint=endpoint))
        told = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}
        ran = subprocess.run(
            [sys.executable, str(program)], env={**os.environ, **told}, capture_output=True, text=True, check=False
        )
    assert ran.returncode == 0, ran.stderr[-2000:]
    spans = [span for one in memory.traces(Query(limit=100)) for span in memory.trace(one.trace_id).spans]
    assert [span.name for span in spans if any(name.startswith("vllm.") for name in span.resource)] == []


def test_the_example_runs(tmp_path: Path, model: str) -> None:
    """Unchanged, with the tiny model: the call in the text is judged, and the batch is a span with a span for each prompt."""
    store = str(tmp_path / "store")
    told = {"MODEL": model, "LLMTRACE_STORE": store, "VLLM_CPU_KVCACHE_SPACE": "1"}
    example = Path(__file__).resolve().parents[2] / "examples" / "on_vllm" / "in_process_agent.py"
    ran = subprocess.run(
        [sys.executable, str(example)], env={**os.environ, **told}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout.splitlines()[-1:]) == (0, ["3 summaries"]), ran.stderr[-2000:]
    kept = open_store(store)
    traces = [kept.trace(one.trace_id) for one in kept.traces(Query(limit=100))]
    kept.close()
    (agent,) = [one for one in traces if one.root.name == "invoke_agent weather"]
    chat, execution = sorted((span for span in agent.spans if span is not agent.root), key=lambda span: span.start)
    assert chat.operation.output[0].tool_calls()[0].name == execution.operation.name == "get_weather"
    (batch,) = [one for one in traces if one.root.name == "summaries"]
    assert sorted(span.name.partition(" ")[0] for span in batch.spans) == [
        "LLM.generate",
        "summaries",
        *["text_completion"] * 3,
    ]


def test_llmtrace_takes_no_provider(llm: Any) -> None:
    """Nor does it set one that vLLM would then find in place of its own."""
    assert "llmtrace" not in type(trace.get_tracer_provider()).__module__
