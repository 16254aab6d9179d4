"""Hugging Face's client beyond the contract suite: text generation, vectors, and where a request goes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

huggingface_hub = pytest.importorskip("huggingface_hub")

from kit import Reply, json_reply, sse_reply  # noqa: E402
from server import Server  # noqa: E402

from llmtrace.model import Embedding, Inference, Span, Usage  # noqa: E402
from llmtrace.testing import capture  # noqa: E402

DETAILS = {"finish_reason": "eos_token", "generated_tokens": 2, "seed": None, "prefill": [], "tokens": []}
WHOLE = {"generated_text": "On its way.", "details": DETAILS}
TOKENS = (
    {"token": {"id": 1, "text": "On its", "special": False}},
    {"token": {"id": 2, "text": " way.", "special": False}},
    {"token": {"id": 3, "text": "</s>", "special": True}, "generated_text": "On its way.", "details": DETAILS},
)


def record(reply: Reply, ask: Any, *, asynchronous: bool = False) -> tuple[Any, Span, Any]:
    """What the program got, the only span, and the only request."""
    with Server(reply) as server, capture(instrument=["huggingface"], redact=False) as captured:
        if asynchronous:

            async def main() -> Any:
                async with huggingface_hub.AsyncInferenceClient(server.url, token="none") as client:
                    result = await ask(client)
                    return [chunk async for chunk in result] if hasattr(result, "__anext__") else result

            result = asyncio.run(main())
        else:
            with huggingface_hub.InferenceClient(server.url, token="none") as client:
                result = ask(client)
                result = list(result) if hasattr(result, "__next__") else result
        (request,) = server.requests
        port = int(server.url.rpartition(":")[2])
    (span,) = captured.spans
    assert (span.operation.server_address, span.operation.server_port) == ("127.0.0.1", port)  # type: ignore[union-attr]
    assert request.headers["traceparent"].split("-")[1:3] == [span.trace_id, span.span_id]
    return result, span, request


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("details", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_text_generation(details: bool, stream: bool, asynchronous: bool) -> None:
    reply = sse_reply(TOKENS) if stream else json_reply(WHOLE)
    result, span, request = record(
        reply,
        lambda client: client.text_generation("Where is order 7?", max_new_tokens=9, details=details, stream=stream),
        asynchronous=asynchronous,
    )
    expected: Any = ["On its", " way.", "</s>"] if stream else "On its way."
    assert result == expected if not details else type(result) is not str
    assert json.loads(request.body)["parameters"]["max_new_tokens"] == 9
    call = span.operation
    assert isinstance(call, Inference)
    assert (call.operation, call.provider, call.stream, call.partial) == ("text_completion", "huggingface", stream, False)
    assert [message.text() for message in call.input] == ["Where is order 7?"]
    assert call.parameters == {"max_tokens": 9}
    whole = "On its way." if details or not stream else "On its way.</s>"
    assert [message.text() for message in call.output] == [whole]
    assert call.finish_reasons == (("stop",) if details else ())
    assert call.usage == (Usage(output_tokens=2) if details else None)


def test_a_text_that_is_left_is_partial() -> None:
    with Server(sse_reply(TOKENS)) as server, capture(instrument=["huggingface"]) as captured:
        stream = huggingface_hub.InferenceClient(server.url, token="none").text_generation("Hello", stream=True)
        assert next(stream) == "On its"
        stream.close()
    (span,) = captured.spans
    assert isinstance(span.operation, Inference)
    assert span.operation.partial


def test_vectors_are_not_recorded() -> None:
    pytest.importorskip("numpy")
    result, span, _ = record(json_reply([[0.25, 0.5, 0.75]]), lambda client: client.feature_extraction("Hello"))
    assert result.shape == (1, 3)
    assert isinstance(span.operation, Embedding)
    assert span.operation.dimensions == 3


def test_fields_that_the_library_does_not_know_are_read() -> None:
    """The library's objects are dicts as well, which lack what it does not know."""
    message = {"role": "assistant", "content": "On its way.", "reasoning": "It was sent."}
    body = {"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    _, span, _ = record(json_reply(body), lambda client: client.chat_completion([{"role": "user", "content": "Hello"}]))
    assert isinstance(span.operation, Inference)
    assert [type(part).__name__ for part in span.operation.output[0].parts] == ["Reasoning", "Text"]
