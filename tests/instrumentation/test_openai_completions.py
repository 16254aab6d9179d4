"""The older completions of plain text: recorded as answers of chat are, whole and streamed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from openai_server import USAGE, Server, streamed, whole
from spans_of import inference_span, spans

from llmtrace.model import Generic, Inference, Message, Text, Usage
from llmtrace.testing import Captured

MODEL = "davinci-002"


def choice(text: str, index: int = 0, finish: str | None = "stop", **fields: Any) -> dict[str, Any]:
    return {"text": text, "index": index, "finish_reason": finish, "logprobs": None, **fields}


def completion(*choices: dict[str, Any], usage: Any = USAGE) -> dict[str, Any]:
    about = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "davinci-002-x"}
    return {**about, "choices": list(choices), "usage": usage}


def only(captured: Captured) -> Inference:
    span, operation = inference_span(captured)
    assert (span.name, operation.operation) == (f"text_completion {MODEL}", "text_completion")
    return operation


def test_a_completion_is_recorded(captured: Captured) -> None:
    """The prompt as the user's, the text as the assistant's; parameters by the conventions' names; a server joins our trace."""
    server = Server(whole(completion(choice(" a time."))))
    answer = server.client().completions.create(model=MODEL, prompt="Once upon", max_tokens=5, stop="\n", echo=False)
    assert answer.choices[0].text == " a time."
    operation = only(captured)
    assert operation.input == (Message("user", (Text("Once upon"),)),)
    assert operation.output == (Message("assistant", (Text(" a time."),), finish_reason="stop"),)
    assert operation.parameters == {"max_tokens": 5, "stop_sequences": ["\n"], "echo": False}
    assert (operation.usage, operation.response_model, operation.attempts) == (Usage(20, 9, 8, None, 3), "davinci-002-x", 1)
    assert server.requests[0].headers["traceparent"].split("-")[2] == captured.spans[0].span_id


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        (["a", "b"], [Text("a"), Text("b")]),
        (["a"], [Text("a")]),
        ([1, 2, 3], [Generic("tokens", {"count": 3})]),
        ([[1, 2], [3]], [Generic("tokens", {"count": 2}), Generic("tokens", {"count": 1})]),
    ],
)
def test_each_prompt_is_a_message(captured: Captured, prompt: Any, parts: list[Any]) -> None:
    """Texts as they are; of tokens how many they are."""
    Server(whole(completion(choice("x")))).client().completions.create(model=MODEL, prompt=prompt)
    assert [message.parts for message in only(captured).input] == [(part,) for part in parts]


def test_a_stream_is_recorded_as_the_whole_answer_is(captured: Captured) -> None:
    """Choices are kept apart; one that is left early is partial."""
    chunks = [
        completion(choice("a", 0, None), usage=None),
        completion(choice("b", 1, None), usage=None),
        completion(choice("A", 0), usage=None),
        completion(choice("B", 1, "length"), usage=None),
        completion(),
    ]

    async def main(limit: int) -> None:
        async with Server(streamed(chunks)).aclient() as client:
            stream = await client.completions.create(model=MODEL, prompt=["x", "y"], stream=True)
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == limit:
                    break
            await stream.close()

    asyncio.run(main(9))
    operation = only(captured)
    assert [message.text() for message in operation.output] == ["aA", "bB"]
    assert (operation.finish_reasons, operation.partial, operation.chunks, operation.usage) == (
        ("stop", "length"),
        False,
        5,
        Usage(20, 9, 8, None, 3),
    )
    asyncio.run(main(3))
    second = captured.spans[1].operation
    assert isinstance(second, Inference)
    assert ([message.text() for message in second.output], second.partial) == (["aA", "b"], True)


def test_log_probabilities_and_raw_answers(captured: Captured) -> None:
    """Their older form; by ``with_raw_response`` too."""
    logprobs = {"tokens": [" a", " time"], "token_logprobs": [-0.5, -1.5], "top_logprobs": None, "text_offset": [9, 11]}
    client = Server(whole(completion(choice(" a time", logprobs=logprobs)))).client()
    client.completions.with_raw_response.create(model=MODEL, prompt="Once upon", logprobs=0)
    (span,) = spans(captured)
    assert (span.attributes["llmtrace.logprob.mean"], span.attributes["llmtrace.logprob.tokens"]) == (-1.0, 2)
