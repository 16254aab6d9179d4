"""``doctor --vllm`` and ``stats --vllm`` where there is no server, and how metrics are read. With one: ``tests/real_vllm``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmtrace import cli
from llmtrace.cli import format_text
from llmtrace.cli.vllm_stats import Metrics, Slowest, root_of
from llmtrace.model import Custom, Inference, Span, Trace, Usage
from llmtrace.semconv import ENGINE_DECODE, ENGINE_FIRST_TOKEN, ENGINE_PER_TOKEN, ENGINE_QUEUE, SAME_CALL
from llmtrace.statistics.counted_steps import steps_of

TEXT = """\
# HELP vllm:num_requests_running Number of requests
vllm:num_requests_running{engine="0",model_name="a"} 2.0
vllm:num_requests_running{engine="1",model_name="a"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1",model_name="a \\"b\\""} 4.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.5",model_name="a \\"b\\""} 9.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="a \\"b\\""} 10.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="a"} 10.0
"""


def test_metrics_are_read() -> None:
    """Summed over engines; a quantile of a histogram is the bound of its bucket."""
    metrics = Metrics(TEXT)
    assert metrics.total("vllm:num_requests_running") == 3
    assert [metrics.quantile("vllm:time_to_first_token_seconds", share) for share in (0.4, 0.5, 0.95)] == [
        0.1,
        0.5,
        float("inf"),
    ]
    assert metrics.quantile("vllm:absent", 0.5) is None
    assert Metrics("nonsense {{{").total("nonsense") is None


@pytest.mark.parametrize(
    "url", ["localhost:8000", "http://localhost:8000/", "http://localhost:8000/v1", "http://localhost:8000/v1/"]
)
def test_an_address_is_taken_in_every_form(url: str) -> None:
    """With and without scheme and ``/v1``."""
    assert root_of(url) == "http://localhost:8000"


def test_where_no_server_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """doctor finds it wrong; stats cannot do without it, and says what to give."""
    assert cli.main(["doctor", "--vllm", "http://127.0.0.1:9", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["findings"]
    assert (found["status"], found["about"]) == ("wrong", "server")
    assert cli.main(["stats", "--vllm", "http://127.0.0.1:9", "--store", str(tmp_path)]) == 2
    assert "/metrics" in capsys.readouterr().err


def test_the_engines_times_are_worded() -> None:
    """In the order in which they pass; nothing where none was told."""
    assert format_text.engine({ENGINE_DECODE: 0.5, ENGINE_QUEUE: 0.002, "user": "x"}) == "queue 2 ms, decode 500 ms"
    assert format_text.engine({}) == ""


def test_the_engines_times_count_where_the_clock_around_it_says_less() -> None:
    """Time per token is the engine's; so is the first token of an answer that was not streamed."""
    told = {ENGINE_PER_TOKEN: 0.01, ENGINE_FIRST_TOKEN: 0.2}
    call = Inference("openai", request_model="a", usage=Usage(10, 11))
    spans = [Span("1" * 32, "2" * 16, "chat a", 0, 10**9, operation=call, attributes=told)]
    (step,) = steps_of(Trace(spans))
    assert (step.first_token, step.per_token) == (0.2, 0.01)


def test_what_the_engine_told_is_beside_its_call() -> None:
    """On the call's own span, or on the engine's span of it, which is no call of its own."""
    slowest = Slowest()
    ours = Span("1" * 32, "2" * 16, "chat a", 0, 10**9, operation=Inference("openai"))
    theirs = Span(
        "1" * 32,
        "3" * 16,
        "llm_request",
        0,
        10**9,
        "2" * 16,
        "server",
        Custom(),
        attributes={ENGINE_QUEUE: 0.5, SAME_CALL: "2" * 16},
    )
    assert list(slowest.seen([ours, theirs])) == [ours, theirs]
    assert slowest.calls() == [(ours, {ENGINE_QUEUE: 0.5})]


def test_an_engines_span_alone_is_the_call() -> None:
    """Where the client's span is in another store; below a call that is here it is none of its own."""
    served = {"operation": Inference("vllm"), "kind": "server", "attributes": {ENGINE_QUEUE: 0.5}}
    theirs = Span("1" * 32, "3" * 16, "llm_request", 0, 10**9, "2" * 16, **served)  # type: ignore[arg-type]
    ours = Span("1" * 32, "2" * 16, "chat a", 0, 2 * 10**9, operation=Inference("openai"))
    alone, together = Slowest(), Slowest()
    assert list(alone.seen([theirs])) == [theirs]
    assert alone.calls() == [(theirs, {ENGINE_QUEUE: 0.5})]
    assert len(list(together.seen([theirs, ours]))) == 2
    assert together.calls() == [(ours, {ENGINE_QUEUE: 0.5})]
