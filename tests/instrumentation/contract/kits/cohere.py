"""cohere: chat by the v2 clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cohere
from kit import MODEL, SYSTEM, TOOL, Answer, Kit, Question, Reply, Said, json_reply, pieces_of, sse_reply

_FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_call": "TOOL_CALL"}


class Cohere(Kit):
    name = "cohere"
    library = "cohere"
    provider = "cohere"
    has_cached_tokens = False
    retries_streams = False
    guards = ("_unhooked",)

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = cohere.AsyncClientV2 if asynchronous else cohere.ClientV2
        client = client_class(api_key="none", base_url=url)
        client.options = {"max_retries": retries}
        return client

    def close(self, client: Any) -> Any:
        http = client._client_wrapper.httpx_client.httpx_client
        return http.aclose() if hasattr(http, "aclose") else http.close()

    def ask(self, client: Any, question: Question) -> Any:
        return client.chat(**_request(question), request_options=client.options)

    def stream(self, client: Any, question: Question) -> Any:
        return client.chat_stream(**_request(question), request_options=client.options)

    def text(self, chunk: Any) -> str:
        return chunk.delta.message.content.text or "" if chunk.type == "content-delta" else ""

    def whole(self, answer: Answer) -> Reply:
        message: dict[str, Any] = {"role": "assistant"}
        if answer.text:
            message["content"] = [{"type": "text", "text": answer.text}]
        if answer.calls:
            message["tool_calls"] = [_call(call, call.arguments) for call in answer.calls]
        body = {"id": "chat-1", "message": message, "finish_reason": _FINISH[answer.finish], "usage": _usage(answer)}
        return json_reply(body)

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply(list(_events(answer)), named=True)

    def error(self, status: int) -> Reply:
        return json_reply({"message": f"refused with {status}"}, status, [("retry-after-ms", "1")])


def _request(question: Question) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question.text}]
    request: dict[str, Any] = {"model": MODEL, "messages": messages, "max_tokens": question.max_tokens}
    if question.tools:
        request["tools"] = [{"type": "function", "function": TOOL}]
    return request


def _call(call: Said, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _events(answer: Answer) -> Iterator[dict[str, Any]]:
    def event(kind: str, message: dict[str, Any], index: int = 0) -> dict[str, Any]:
        return {"type": kind, "index": index, "delta": {"message": message}}

    yield {"type": "message-start", "id": "chat-1", "delta": {"message": {"role": "assistant"}}}
    if answer.text:
        yield event("content-start", {"content": {"type": "text", "text": ""}})
        for piece in pieces_of(answer.text):
            yield event("content-delta", {"content": {"text": piece}})
        yield {"type": "content-end", "index": 0}
    for index, call in enumerate(answer.calls):
        yield event("tool-call-start", {"tool_calls": _call(call, "")}, index)
        for piece in pieces_of(call.arguments):
            yield event("tool-call-delta", {"tool_calls": {"function": {"arguments": piece}}}, index)
        yield {"type": "tool-call-end", "index": index}
    end = {"finish_reason": _FINISH[answer.finish], "usage": _usage(answer)}
    yield {"type": "message-end", "id": "chat-1", "delta": end}


def _usage(answer: Answer) -> dict[str, Any]:
    billed = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
    return {
        "billed_units": billed,
        "tokens": {"input_tokens": answer.input_tokens + 400, "output_tokens": answer.output_tokens + 9},
        "cached_tokens": 300,
    }


KIT = Cohere()
