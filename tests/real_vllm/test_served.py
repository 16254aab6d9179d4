"""A served vLLM, with tools, streams, OTLP and request metrics: its span is the child of ours, and what its random model says
is judged as a check by hand judges it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openai import DefaultHttpxClient, OpenAI

from llmtrace import cli, semconv
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Span
from llmtrace.receiver import Receiver
from llmtrace.recorder.identity import Identity
from llmtrace.store import open_store
from llmtrace.testing import Captured, capture

ROOT = Path(__file__).resolve().parents[2]
ASK = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 4}]


class Served(NamedTuple):
    url: str
    store: str
    engine: Callable[[Span], Span]
    """The server's own span of a call of ours, once it has come."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import tiny_server

    folder = str(tmp_path_factory.mktemp("store"))
    kept = open_store(folder)
    with (
        Receiver(Ingestor(kept, content=Content(Config()), quiet=0.5), http_port=0, grpc_port=None) as receiver,
        tiny_server.serving(otlp=f"http://127.0.0.1:{receiver.http_port}/v1/traces") as url,
    ):

        def engine(span: Span) -> Span:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                kept.flush()
                try:
                    found = [one for one in kept.trace(span.trace_id).spans if one.parent_id == span.span_id]
                except Exception:  # nothing of this trace has come
                    found = []
                if found:
                    (one,) = found
                    return one
                time.sleep(0.2)
            raise TimeoutError("the server's span did not come")

        yield Served(url, folder, engine)
    kept.close()


@pytest.fixture
def client(served: Served) -> OpenAI:
    return OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def captured() -> Iterator[Captured]:
    """With ids that do not repeat from test to test, since the server's spans are kept."""
    with capture(instrument=("openai",), redact=False, identity=Identity()) as found:
        yield found


def only(captured: Captured) -> Span:
    (span,) = captured.spans
    return span


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_engines_span_is_the_child_of_ours(served: Served, client: OpenAI, captured: Captured, stream: bool) -> None:
    """In one trace, with the same id and token counts; the engine's times are on both, for ours came with the answer."""
    asked: dict[str, Any] = {"model": "tiny", "messages": ASK, "max_tokens": 12, "seed": 1}
    if stream:
        for _ in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
            pass
    else:
        client.chat.completions.create(**asked)
    ours = only(captured)
    theirs = served.engine(ours)
    assert (theirs.name, theirs.parent_id, theirs.kind, theirs.links) == ("llm_request", ours.span_id, "server", ())
    assert theirs.operation.response_id == ours.operation.response_id
    assert theirs.operation.usage.output_tokens == ours.operation.usage.output_tokens == 12
    for name in (semconv.ENGINE_QUEUE, semconv.ENGINE_DECODE, semconv.ENGINE_PER_TOKEN, semconv.ENGINE_FIRST_TOKEN):
        assert ours.attributes[name] >= 0
        assert theirs.attributes[name] >= 0
    assert theirs.attributes[semconv.ENGINE_PREFILL] >= 0


def test_a_lost_trace_is_joined_by_the_id_of_the_request(served: Served, captured: Captured) -> None:
    """Where something on the way takes ``traceparent`` away, the server's span still comes below ours."""

    def strip(request: Any) -> None:
        del request.headers["traceparent"]

    through = DefaultHttpxClient(event_hooks={"request": [strip]})
    client = OpenAI(base_url=f"{served.url}/v1", api_key="none", http_client=through)
    client.chat.completions.create(model="tiny", messages=ASK, max_tokens=4)
    ours = only(captured)
    theirs = served.engine(ours)
    assert theirs.trace_id == ours.trace_id
    assert ours.operation.response_id.endswith(f"llmtrace-{ours.trace_id}-{ours.span_id}")


def test_logprobs_and_the_cache(client: OpenAI, captured: Captured) -> None:
    """Whole and streamed leave the same numbers; cached tokens are told."""
    asked: dict[str, Any] = {"model": "tiny", "messages": ASK, "max_tokens": 12, "seed": 1, "logprobs": True}
    (choice,) = client.chat.completions.create(**asked).choices
    for _ in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        pass
    whole, streamed = captured.spans
    own = [token.logprob for token in choice.logprobs.content]
    assert whole.attributes[semconv.LOGPROB_MEAN] == pytest.approx(sum(own) / len(own))
    names = (semconv.LOGPROB_MEAN, semconv.LOGPROB_MIN, semconv.LOGPROB_TOKENS, semconv.LOGPROB_LOW)
    assert [streamed.attributes[name] for name in names] == [whole.attributes[name] for name in names]
    assert {found.name for found in whole.evaluations} >= {"low_confidence"}
    assert streamed.operation.usage.cache_read_input_tokens is not None


def test_everything_malformed_is_flagged(served: Served, client: OpenAI) -> None:
    """By the check of the benchmark; and nothing is flagged on answers that are whole and right, of which there are some."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import vllm_malformed

    found = vllm_malformed.run(client, seeds=6)
    missed = [one for one in found if one["fault"] is not None and not one["flags"]]
    false = [one for one in found if one["fault"] is None and one["flags"]]
    assert (missed, false) == ([], [])
    assert sum(one["fault"] is None for one in found) > 5
    assert len({one["fault"] for one in found}) > 3


def test_a_schema_that_is_not_enforced_is_told(client: OpenAI, captured: Captured) -> None:
    """A required call of a tool that is not strict breaks its schema, and the finding says what to do about it; a named call
    ends with ``stop``."""
    import vllm_malformed

    for choice in ("required", vllm_malformed.NAMED):
        for seed in range(6):
            client.chat.completions.create(
                model="tiny", messages=ASK, seed=seed, max_tokens=120, tools=[vllm_malformed.tool(False)], tool_choice=choice
            )
    labels = {found.label for span in captured.spans for found in span.evaluations if found.name == "served_call"}
    assert labels >= {"unenforced", "named_stop"}


def test_doctor_asks_the_server(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """One request: the span came, what is on and what is off."""
    assert cli.main(["doctor", "--vllm", served.url, "--store", served.store, "--json"]) == 0
    found = {one["about"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert {about: one["status"] for about, one in found.items()} == {
        "server": "ok",
        "tools": found["tools"]["status"],
        "times": "ok",
        "cache": "ok",
        "request id": "ok",
        "span": "ok",
        "/metrics": "ok",
    }
    assert "0.32" in found["server"]["text"]
    assert cli.main(["doctor", "--vllm", "http://127.0.0.1:9", "--json"]) == 1


def test_stats_reads_the_server_beside_the_store(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    """What runs and waits, the caches, percentiles since its start; and where the slowest calls waited."""
    assert cli.main(["stats", "--vllm", f"{served.url}/v1", "--store", served.store, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["vllm"]
    assert (told["running"], told["waiting"]) == (0, 0)
    assert told["requests"] > 0
    assert told["seconds"]["first token"]["p50"] > 0
    assert any(semconv.ENGINE_QUEUE in call for call in told["slowest"])
    assert cli.main(["stats", "--vllm", served.url, "--store", served.store]) == 0
    assert "The slowest calls" in capsys.readouterr().out


def test_the_example_runs(served: Served) -> None:
    """Unchanged, with the tiny model: one trace, in which each inference is the agent's child and the engine's parent."""
    told = {**os.environ, "OPENAI_BASE_URL": f"{served.url}/v1", "MODEL": "tiny", "LLMTRACE_STORE": served.store}
    example = ROOT / "examples" / "on_vllm" / "served_agent.py"
    subprocess.run([sys.executable, str(example)], env=told, check=True, capture_output=True)
    store = open_store(served.store)
    traces = [store.trace(one.trace_id) for one in store.traces()]
    (spans,) = [trace.spans for trace in traces if any(span.name == "invoke_agent weather" for span in trace.spans)]
    agent = next(span for span in spans if span.name == "invoke_agent weather")
    inferences = [span for span in spans if span.name == "chat tiny"]
    store.close()
    assert inferences
    for inference in inferences:
        assert inference.parent_id == agent.span_id
        assert served.engine(inference).name == "llm_request"
