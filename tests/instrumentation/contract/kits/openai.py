"""OpenAI: chat completions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import openai
from kit import MODEL, SYSTEM, TOOL, Answer, Question, Reply, Said, Stainless, json_reply, pieces_of, sse_reply

_ABOUT = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": MODEL, "system_fingerprint": "fp_1"}
_FINISH = {"tool_call": "tool_calls"}


class OpenAI(Stainless):
    name = "openai"
    library = "openai"
    provider = "openai"
    has_choices = True
    stream_options: Mapping[str, Any] = {"stream_options": {"include_usage": True}}

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return client_class(api_key="sk-test", base_url=f"{url}/v1", max_retries=retries)

    def resource(self, client: Any) -> Any:
        return client.chat.completions

    def request(self, question: Question) -> dict[str, Any]:
        return _request(question)

    def text(self, chunk: Any) -> str:
        return "".join(choice.delta.content or "" for choice in chunk.choices if choice.index == 0)

    def whole(self, answer: Answer) -> Reply:
        message = {"role": "assistant", "content": answer.text or None}
        if answer.calls:
            message["tool_calls"] = [_call(call, call.arguments) for call in answer.calls]
        choices = [{"index": index, "message": message, "finish_reason": _finish(answer)} for index in range(answer.n)]
        return json_reply({**_ABOUT, "object": "chat.completion", "choices": choices, "usage": _usage(answer)})

    def streamed(self, answer: Answer) -> Reply:
        deltas = [delta for index in range(answer.n) for delta in _deltas(answer, index)]
        chunks = [{**_ABOUT, "object": "chat.completion.chunk", "choices": [delta], "usage": None} for delta in deltas]
        last = {**_ABOUT, "object": "chat.completion.chunk", "choices": [], "usage": _usage(answer)}
        return sse_reply([*chunks, last], done=b"data: [DONE]\n\n")

    def error(self, status: int) -> Reply:
        body = {"error": {"message": f"refused with {status}", "type": "error", "param": None, "code": None}}
        return json_reply(body, status, [("retry-after-ms", "1")])


def _request(question: Question) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question.text}]
    request: dict[str, Any] = {"model": MODEL, "messages": messages, "max_tokens": question.max_tokens}
    if question.tools:
        request["tools"] = [{"type": "function", "function": TOOL}]
    if question.n > 1:
        request["n"] = question.n
    return request


def _call(call: Said, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _deltas(answer: Answer, index: int) -> Iterator[dict[str, Any]]:
    """The stream of one choice."""

    def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "finish_reason": finish}

    yield choice({"role": "assistant", "content": "" if answer.text else None})
    for piece in pieces_of(answer.text):
        yield choice({"content": piece})
    for number, call in enumerate(answer.calls):
        yield choice({"tool_calls": [{"index": number, **_call(call, "")}]})
        for piece in pieces_of(call.arguments):
            yield choice({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    yield choice({}, _finish(answer))


def _finish(answer: Answer) -> str:
    return _FINISH.get(answer.finish, answer.finish)


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }


KIT = OpenAI()
