"""OpenAI: chat completions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
from kit import MODEL, SYSTEM, TOOL, Answer, Kit, Question, Reply, Said, json_reply, pieces_of, sse_reply
from openai_server import chunk, completion, message, tool_call

_FINISH = {"tool_call": "tool_calls"}


class OpenAI(Kit):
    name = "openai"
    library = "openai"
    provider = "openai"
    has_choices = True

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return client_class(api_key="sk-test", base_url=f"{url}/v1", max_retries=retries)

    def ask(self, client: Any, question: Question) -> Any:
        return client.chat.completions.create(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.chat.completions.create(**_request(question), stream=True, stream_options={"include_usage": True})

    def text(self, chunk: Any) -> str:
        return "".join(choice.delta.content or "" for choice in chunk.choices if choice.index == 0)

    def whole(self, answer: Answer) -> Reply:
        calls = {"tool_calls": [_call(call) for call in answer.calls]} if answer.calls else {}
        messages = [message(answer.text or None, **calls)] * answer.n
        return json_reply(completion(*messages, finish=_finish(answer), model=MODEL, usage=_usage(answer)))

    def streamed(self, answer: Answer) -> Reply:
        chunks = [piece for index in range(answer.n) for piece in _chunks(answer, index)]
        return sse_reply([*chunks, chunk(None, model=MODEL, usage=_usage(answer))], done=b"data: [DONE]\n\n")

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


def _call(call: Said) -> dict[str, Any]:
    return tool_call(call.arguments, id=call.id, name=call.name)


def _chunks(answer: Answer, index: int) -> Iterator[dict[str, Any]]:
    """The stream of one choice."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if answer.text else None}]
    deltas += [{"content": piece} for piece in pieces_of(answer.text)]
    for number, call in enumerate(answer.calls):
        deltas.append({"tool_calls": [{"index": number, **tool_call("", id=call.id, name=call.name)}]})
        for piece in pieces_of(call.arguments):
            deltas.append({"tool_calls": [{"index": number, "function": {"arguments": piece}}]})
    for delta in deltas:
        yield chunk(delta, index=index, model=MODEL)
    yield chunk({}, finish=_finish(answer), index=index, model=MODEL)


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
