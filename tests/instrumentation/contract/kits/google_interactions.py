"""google-genai: the Interactions API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import google.genai.interactions  # noqa: F401 - older releases have none
import pydantic
from kit import MODEL, SYSTEM, TOOL, Answer, Question, Reply, Said, json_reply, pieces_of, sse_reply
from kits.google_genai import GoogleGenai

_ABOUT = {
    "id": "v1_1",
    "object": "interaction",
    "model": MODEL,
    "created": "2026-01-01T00:00:00Z",
    "updated": "2026-01-01T00:00:00Z",
}
_STATUS = {"stop": "completed", "length": "incomplete", "tool_call": "requires_action"}


class _Async:
    """The async side of a client, with the sync one's methods where the kit looks for them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.interactions = client.aio.interactions


class GoogleInteractions(GoogleGenai):
    has_choices = False

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        new_client: Any = super().client(url, retries=retries)
        return _Async(new_client) if asynchronous else new_client

    def close(self, client: Any) -> Any:
        return client.client.aio.aclose() if isinstance(client, _Async) else client.close()

    def ask(self, client: Any, question: Question) -> Any:
        return client.interactions.create(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        return client.interactions.create(**_request(question), stream=True)

    def seen(self, answer: Any) -> Any:
        assert isinstance(answer, pydantic.BaseModel)
        return type(answer).__qualname__, answer.model_dump(), sorted(answer.model_fields_set)

    def text(self, chunk: Any) -> str:
        return str(chunk.delta.text) if chunk.event_type == "step.delta" and chunk.delta.type == "text" else ""

    def whole(self, answer: Answer) -> Reply:
        steps = [{"type": "model_output", "content": [{"type": "text", "text": answer.text}]}] if answer.text else []
        return json_reply({**_ABOUT, **_end(answer), "steps": [*steps, *map(_call, answer.calls)]})

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply(list(_events(answer)))


def _request(question: Question) -> dict[str, Any]:
    request = {
        "model": MODEL,
        "system_instruction": SYSTEM,
        "input": question.text,
        "generation_config": {"max_output_tokens": question.max_tokens},
    }
    return {**request, "tools": [{"type": "function", **TOOL}]} if question.tools else request


def _call(call: Said) -> dict[str, Any]:
    return {"type": "function_call", "id": call.id, "name": call.name, "arguments": json.loads(call.arguments)}


def _events(answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"event_type": "interaction.created", "interaction": {**_ABOUT, "status": "in_progress"}}
    steps = 0
    if answer.text:
        yield {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}}
        for piece in pieces_of(answer.text):
            yield {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": piece}}
        yield {"event_type": "step.stop", "index": 0}
        steps = 1
    for index, call in enumerate(answer.calls, steps):
        yield {"event_type": "step.start", "index": index, "step": {**_call(call), "arguments": {}}}
        for piece in pieces_of(call.arguments):
            yield {"event_type": "step.delta", "index": index, "delta": {"type": "arguments_delta", "arguments": piece}}
        yield {"event_type": "step.stop", "index": index}
    yield {"event_type": "interaction.completed", "interaction": {**_ABOUT, **_end(answer)}}


def _end(answer: Answer) -> dict[str, Any]:
    usage = {
        "total_input_tokens": answer.input_tokens,
        "total_output_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "total_cached_tokens": answer.cached_tokens,
    }
    return {"status": _STATUS[answer.finish], "usage": usage}


KIT = GoogleInteractions()
