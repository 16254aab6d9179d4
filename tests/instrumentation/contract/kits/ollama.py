"""Ollama: chat."""

from __future__ import annotations

import json
from typing import Any

import ollama
import pydantic
from kit import MODEL, SYSTEM, TOOL, Answer, Kit, Question, Reply, json_reply, pieces_of

_ABOUT = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z"}


class Ollama(Kit):
    name = "ollama"
    library = "ollama"
    provider = "ollama"
    has_call_ids = False
    has_cached_tokens = False
    retries = False

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        client_class: Any = ollama.AsyncClient if asynchronous else ollama.Client
        return client_class(host=url)

    def close(self, client: Any) -> Any:
        return client.close() if hasattr(client, "close") else None  # before 0.6

    def ask(self, client: Any, question: Question) -> Any:
        return client.chat(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.chat(**_request(question), stream=True)

    def seen(self, answer: Any) -> Any:
        assert isinstance(answer, pydantic.BaseModel)
        return type(answer).__qualname__, answer.model_dump()

    def text(self, chunk: Any) -> str:
        return chunk.message.content or ""

    def whole(self, answer: Answer) -> Reply:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.calls:
            message["tool_calls"] = _calls(answer)
        return json_reply({**_ABOUT, "message": message, **_done(answer)})

    def streamed(self, answer: Answer) -> Reply:
        messages: list[dict[str, Any]] = [{"content": piece} for piece in pieces_of(answer.text)]
        messages += [{"content": "", "tool_calls": [call]} for call in _calls(answer)]
        chunks = [{**_ABOUT, "message": {"role": "assistant", **message}, "done": False} for message in messages]
        chunks.append({**_ABOUT, "message": {"role": "assistant", "content": ""}, **_done(answer)})
        return Reply(tuple(json.dumps(chunk).encode() + b"\n" for chunk in chunks), content_type="application/x-ndjson")

    def error(self, status: int) -> Reply:
        return json_reply({"error": f"refused with {status}"}, status)


def _request(question: Question) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question.text}]
    request: dict[str, Any] = {"model": MODEL, "messages": messages, "options": {"num_predict": question.max_tokens}}
    if question.tools:
        request["tools"] = [{"type": "function", "function": TOOL}]
    return request


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [{"function": {"name": call.name, "arguments": json.loads(call.arguments)}} for call in answer.calls]


def _done(answer: Answer) -> dict[str, Any]:
    reason = "stop" if answer.finish == "tool_call" else answer.finish
    return {
        "done": True,
        "done_reason": reason,
        "prompt_eval_count": answer.input_tokens,
        "eval_count": answer.output_tokens,
        "total_duration": 7_000_000,
    }


KIT = Ollama()
