"""Anthropic: messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
from anthropic_server import events, message, text, tool_use
from kit import MODEL, SYSTEM, TOOL, Answer, Kit, Question, Reply, json_reply, sse_reply

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_call": "tool_use"}
_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class Anthropic(Kit):
    name = "anthropic"
    library = "anthropic"
    provider = "anthropic"

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return client_class(api_key="sk-test", base_url=url, max_retries=retries)

    def ask(self, client: Any, question: Question) -> Any:
        return client.messages.create(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.messages.create(**_request(question), stream=True)

    def text(self, chunk: Any) -> str:
        return chunk.delta.text if chunk.type == "content_block_delta" and chunk.delta.type == "text_delta" else ""

    def whole(self, answer: Answer) -> Reply:
        return json_reply(_message(answer, json.loads))

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply(events(_message(answer, str)), named=True)

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


def _message(answer: Answer, read: Callable[[str], Any]) -> dict[str, Any]:
    """The answer; ``read``: what becomes of the text of a call's arguments."""
    blocks = [text(answer.text)] if answer.text else []
    blocks += [tool_use(read(call.arguments), id=call.id, name=call.name) for call in answer.calls]
    usage = {
        "input_tokens": answer.input_tokens - answer.cached_tokens,
        "cache_read_input_tokens": answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "output_tokens": answer.output_tokens,
    }
    return message(*blocks, stop=_FINISH[answer.finish], model=MODEL, usage=usage)


KIT = Anthropic()
