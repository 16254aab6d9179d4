"""A stream that passes its budget ends in the loop over it, only under ``raise``; over the real client and a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

import llmtrace
from llmtrace.demo.server import ModelServer
from llmtrace.errors import BudgetExceeded
from llmtrace.model import Inference
from llmtrace.testing import capture

openai = pytest.importorskip("openai")

PRICES = {"m": {"input": 0, "output": 1_000_000}}


def answer(_: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"role": "assistant", "content": "word " * 400}


@pytest.fixture
def client() -> Iterator[Any]:
    with ModelServer(answer, pace=0) as server:
        yield openai.OpenAI(base_url=server.url, api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False))


def stream(client: Any, **options: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "go"}], stream=True, **options)


@pytest.mark.parametrize("ceiling", [{"output_tokens": 50}, {"tokens": 50}, {"usd": 50.0}])
def test_it_ends_in_the_loop(client: Any, ceiling: dict[str, Any]) -> None:
    """Soon after the ceiling, long before its end; the span is partial, says so, and its tokens count."""
    seen = []
    with capture(prices=PRICES, signals=[]) as captured, llmtrace.Budget(**ceiling) as spent:
        with pytest.raises(BudgetExceeded) as caught:
            seen.extend(stream(client))
        assert 50 < spent.output_tokens < 70
    assert 10 < len(seen) < 100
    assert caught.value.limit in ceiling
    assert [each.name for each in caught.value.spenders] == ["m"]
    (span,) = captured.spans
    assert isinstance(span.operation, Inference)
    assert span.operation.partial
    assert span.failure is not None
    assert span.failure.type == "llmtrace.errors.BudgetExceeded"


def test_an_async_one_too() -> None:
    """The same over an async client."""

    async def main(url: str) -> int:
        transport = openai.DefaultAsyncHttpxClient(trust_env=False)
        seen = 0
        async with openai.AsyncOpenAI(base_url=url, api_key="none", http_client=transport) as client:
            with pytest.raises(BudgetExceeded):
                async for _ in await stream(client):
                    seen += 1
        return seen

    with ModelServer(answer, pace=0) as server, capture(), llmtrace.Budget(output_tokens=50):
        assert 10 < asyncio.run(main(server.url)) < 100


def test_under_record_it_goes_on(client: Any) -> None:
    """A budget that only records never stops a stream."""
    with capture(signals=[]) as captured, llmtrace.Budget(output_tokens=50, on_exceed="record"):
        seen = list(stream(client))
    assert len(seen) > 300
    assert [found.name for found in captured.spans[0].evaluations] == ["budget_exceeded"]


def test_one_that_stays_within_it_is_whole(client: Any) -> None:
    """Told usage counts in place of the estimate."""
    with capture() as captured, llmtrace.Budget(output_tokens=100_000) as spent:
        list(stream(client, stream_options={"include_usage": True}))
    operation = captured.spans[0].operation
    assert isinstance(operation, Inference)
    assert operation.usage is not None
    assert spent.output_tokens == operation.usage.output_tokens


def test_streams_under_way_count_together(client: Any) -> None:
    """Two streams side by side pass a budget that neither passes alone."""
    with capture(), llmtrace.Budget(output_tokens=100):
        one, other = stream(client), stream(client)
        seen = 0
        with pytest.raises(BudgetExceeded):
            while True:
                next(one)
                next(other)
                seen += 1
        one.close()
        other.close()
    assert 40 < seen < 90
