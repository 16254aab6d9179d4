"""Anthropic: messages."""

from __future__ import annotations

import json
from typing import Any

import anthropic
from anthropic_server import TOOLS, events, message, text, tool_use
from kit import MODEL, SYSTEM, Answer, Question, Reply, Stainless, json_reply, sse_reply

_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_call": "tool_use"}
_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class Anthropic(Stainless):
    name = "anthropic"
    library = "anthropic"
    provider = "anthropic"

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return client_class(api_key="sk-test", base_url=url, max_retries=retries)

    def resource(self, client: Any) -> Any:
        return client.messages

    def request(self, question: Question) -> dict[str, Any]:
        return _request(question)

    def text(self, chunk: Any) -> str:
        return chunk.delta.text if chunk.type == "content_block_delta" and chunk.delta.type == "text_delta" else ""

    def whole(self, answer: Answer) -> Reply:
        return json_reply(_message(answer, *(json.loads(call.arguments) for call in answer.calls)))

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply(events(_message(answer, *(call.arguments for call in answer.calls))), named=True)

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
        request["tools"] = TOOLS
    return request


def _message(answer: Answer, *inputs: Any) -> dict[str, Any]:
    """``inputs``: the arguments of its calls, as objects or, for a stream, as text."""
    cached = answer.cached_tokens
    calls = [tool_use(tool_input, id=call.id, name=call.name) for call, tool_input in zip(answer.calls, inputs, strict=True)]
    return message(
        *([text(answer.text)] if answer.text else ()),
        *calls,
        stop=_FINISH[answer.finish],
        model=MODEL,
        usage={
            "input_tokens": answer.input_tokens - cached,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": answer.output_tokens,
        },
    )


KIT = Anthropic()
