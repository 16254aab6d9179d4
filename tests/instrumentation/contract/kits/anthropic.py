"""Anthropic: messages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pydantic
from kit import MODEL, SYSTEM, TOOL, Answer, Question, Reply, Said, json_reply, pieces_of, sse_reply

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_call": "tool_use"}
_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class Anthropic:
    name = "anthropic"
    library = "anthropic"
    provider = "anthropic"
    has_sync = True
    has_async = True
    has_choices = False
    has_call_ids = True
    retries = True

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return client_class(api_key="sk-test", base_url=url, max_retries=retries)

    def close(self, client: Any) -> Any:
        return client.close()

    def resource(self, client: Any) -> Any:
        """What has the method ``create``."""
        return client.messages

    def request(self, question: Question) -> dict[str, Any]:
        return _request(question)

    def ask(self, client: Any, question: Question) -> Any:
        return self.resource(client).create(**self.request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return self.resource(client).create(**self.request(question), stream=True)

    def seen(self, answer: Any) -> Any:
        assert isinstance(answer, pydantic.BaseModel)
        return type(answer).__qualname__, answer.model_dump(), sorted(answer.model_fields_set)

    def text(self, chunk: Any) -> str:
        return chunk.delta.text if chunk.type == "content_block_delta" and chunk.delta.type == "text_delta" else ""

    def whole(self, answer: Answer) -> Reply:
        content: list[Any] = [{"type": "text", "text": answer.text}] if answer.text else []
        content += [_call(call, json.loads(call.arguments)) for call in answer.calls]
        message = {**_about(answer), "content": content, "stop_reason": _FINISH[answer.finish]}
        return json_reply({**message, "usage": {**_input(answer), "output_tokens": answer.output_tokens}})

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply(list(_events(answer)), named=True)

    def error(self, status: int) -> Reply:
        error = {"type": _ERRORS.get(status, "api_error"), "message": f"refused with {status}"}
        return json_reply({"type": "error", "error": error}, status, [("retry-after-ms", "1")])


def _request(question: Question) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": question.max_tokens,
        "system": SYSTEM,
        "messages": [{"role": "user", "content": question.text}],
    }
    if question.tools:
        schema = {"input_schema": TOOL["parameters"]}
        request["tools"] = [{"name": TOOL["name"], "description": TOOL["description"], **schema}]
    return request


def _about(answer: Answer) -> dict[str, Any]:
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": MODEL, "stop_sequence": None}


def _input(answer: Answer) -> dict[str, Any]:
    cached = answer.cached_tokens
    return {"input_tokens": answer.input_tokens - cached, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0}


def _call(call: Said, tool_input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": tool_input}


def _events(answer: Answer) -> Iterator[dict[str, Any]]:
    usage = {**_input(answer), "output_tokens": 1}
    yield {"type": "message_start", "message": {**_about(answer), "content": [], "stop_reason": None, "usage": usage}}
    yield {"type": "ping"}
    index = 0
    if answer.text:
        pieces = [{"type": "text_delta", "text": piece} for piece in pieces_of(answer.text)]
        yield from _block(index, {"type": "text", "text": ""}, pieces)
        index += 1
    for call in answer.calls:
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces_of(call.arguments))]
        yield from _block(index, _call(call, {}), pieces)
        index += 1
    delta = {"stop_reason": _FINISH[answer.finish], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": answer.output_tokens}}
    yield {"type": "message_stop"}


def _block(index: int, begun: dict[str, Any], deltas: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


KIT = Anthropic()
