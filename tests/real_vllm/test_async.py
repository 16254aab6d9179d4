"""``AsyncLLM.generate``: outputs of every kind, several choices, and every way in which a request can come to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import pytest
from vllm import AsyncEngineArgs, PoolingParams, SamplingParams
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from llmtrace import semconv
from llmtrace.model import Embedding, Inference, Span, Usage
from llmtrace.recorder import collected
from llmtrace.testing import Captured

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(scope="module")
def running(options: dict[str, Any]) -> Iterator[tuple[Any, Run]]:
    """An engine, and the event loop that it lives in."""
    yield from started(options)


def started(options: dict[str, Any]) -> Iterator[tuple[Any, Run]]:
    loop = asyncio.new_event_loop()

    async def made() -> Any:
        return AsyncLLM.from_engine_args(AsyncEngineArgs(**options))

    engine = loop.run_until_complete(made())
    yield engine, loop.run_until_complete
    engine.shutdown()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def sampling(**more: Any) -> SamplingParams:
    return SamplingParams(**({"temperature": 1.0, "seed": 1, "max_tokens": 8} | more))


def only(captured: Captured) -> Span:
    (span,) = captured.spans
    assert isinstance(span.operation, Inference)
    return span


@pytest.mark.parametrize("kind", list(RequestOutputKind), ids=lambda kind: kind.name)
@pytest.mark.parametrize("n", [1, 2])
def test_every_kind_of_outputs(running: Any, captured: Captured, kind: Any, n: int) -> None:
    """Text and tokens are counted once, for each choice, however the outputs come; so are the engine's times told."""
    engine, run = running

    async def read() -> dict[int, str]:
        texts: dict[int, str] = {}
        async for output in engine.generate("The quick", sampling(output_kind=kind, n=n), f"r-{kind.name}-{n}"):
            for one in output.outputs:
                texts[one.index] = texts.get(one.index, "") + one.text if kind.name == "DELTA" else one.text
        return texts

    texts = run(read())
    span = only(captured)
    did = span.operation
    assert [message.text() for message in did.output] == [texts[index] for index in range(n)]
    assert did.usage.output_tokens == 8 * n
    assert (did.finish_reasons, did.partial, did.stream) == (("length",) * n, False, True)
    assert did.time_to_first_chunk > 0
    assert span.attributes[semconv.ENGINE_DECODE] >= 0


def test_left_cancelled_or_aborted(running: Any, captured: Captured) -> None:
    """A stream that is closed or cancelled is marked partial; one that is aborted ends by itself, and says so. The engine has
    no request left, and its own span would not have been written."""
    engine, run = running

    async def close() -> None:
        outputs = engine.generate("a", sampling(max_tokens=500), "closed")
        async for _ in outputs:
            break
        await outputs.aclose()

    async def cancel() -> None:
        async def read() -> None:
            async for _ in engine.generate("a", sampling(max_tokens=500), "cancelled"):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def abort() -> None:
        number = 0
        async for _ in engine.generate("a", sampling(max_tokens=500), "aborted"):
            number += 1
            if number == 2:
                await engine.abort("aborted")

    for leave in (close, cancel, abort):
        run(leave())

    collected.settle()
    closed, cancelled, aborted = sorted(captured.spans, key=lambda span: span.start)
    assert [span.operation.partial for span in (closed, cancelled, aborted)] == [True, True, True]
    assert (closed.failure, aborted.failure) == (None, None)
    assert cancelled.failure.type == "cancelled"
    assert aborted.operation.finish_reasons == ("abort",)
    assert closed.operation.output[0].text()
    assert engine.output_processor.get_num_unfinished_requests() == 0


def test_what_is_refused_is_a_failed_span(running: Any, captured: Captured) -> None:
    """A prompt that is too long raises when the first output is asked for, as without llmtrace."""
    engine, run = running

    async def read() -> None:
        async for _ in engine.generate("x " * 3000, sampling(), "refused"):
            pass

    with pytest.raises(Exception, match="maximum context length"):
        run(read())
    assert only(captured).failure is not None


def test_embeddings(options: dict[str, Any], captured: Captured) -> None:
    """``AsyncLLM.encode``: one span a prompt, with its tokens and the length of the vector, which is not kept; what is left
    early is marked, and what is refused has failed."""
    running = started({**options, "runner": "pooling"})
    engine, run = next(running)
    asked = PoolingParams(task="embed")

    async def read(prompt: str, name: str) -> Any:
        outputs = [output async for output in engine.encode(prompt, asked, name)]
        return outputs[-1]

    async def leave() -> None:
        outputs = engine.encode("The quick", asked, request_id="left")
        await outputs.aclose()

    made = run(read("The quick brown fox", "first"))
    with pytest.raises(Exception, match="maximum context length"):
        run(read("x " * 3000, "refused"))
    run(leave())
    for _ in running:
        pass
    first, refused = captured.spans
    assert first.operation == Embedding(
        "vllm",
        request_model="tiny",
        response_model="tiny",
        usage=Usage(len(made.prompt_token_ids)),
        dimensions=made.outputs.data.shape[-1],
    )
    assert (first.name, first.failure) == ("embeddings tiny", None)
    assert refused.failure is not None
