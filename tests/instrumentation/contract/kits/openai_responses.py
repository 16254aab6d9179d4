"""OpenAI: the Responses API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kit import MODEL, SYSTEM, TOOL, Answer, Question, Reply, Said, json_reply, pieces_of, sse_reply
from kits.openai import OpenAI

_ABOUT = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1_700_000_000.0,
    "model": MODEL,
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


class OpenAIResponses(OpenAI):
    has_choices = False
    stream_options: Mapping[str, Any] = {}

    def resource(self, client: Any) -> Any:
        return client.responses

    def request(self, question: Question) -> dict[str, Any]:
        return _request(question)

    def text(self, chunk: Any) -> str:
        return str(chunk.delta) if chunk.type == "response.output_text.delta" else ""

    def whole(self, answer: Answer) -> Reply:
        return json_reply(_response(answer))

    def streamed(self, answer: Answer) -> Reply:
        return sse_reply([{**event, "sequence_number": number} for number, event in enumerate(_events(answer))], named=True)


def _request(question: Question) -> dict[str, Any]:
    request = {"model": MODEL, "instructions": SYSTEM, "input": question.text, "max_output_tokens": question.max_tokens}
    return {**request, "tools": [{"type": "function", **TOOL}]} if question.tools else request


def _response(answer: Answer) -> dict[str, Any]:
    cut = answer.finish == "length"
    return {
        **_ABOUT,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [*([_message(answer.text)] if answer.text else ()), *(_call(call, call.arguments) for call in answer.calls)],
        "usage": {
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


def _call(call: Said, arguments: str) -> dict[str, Any]:
    about = {"type": "function_call", "id": f"fc_{call.id}", "call_id": call.id, "name": call.name, "status": "completed"}
    return {**about, "arguments": arguments}


def _events(answer: Answer) -> Iterator[dict[str, Any]]:
    whole = _response(answer)
    begun = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(whole["output"]):
        empty = {"content": []} if item["type"] == "message" else {"arguments": ""}
        about = {"output_index": index, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **empty, "status": "in_progress"}}
        yield from _text_events(item, about) if item["type"] == "message" else _call_events(item, about)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{whole['status']}", "response": whole}


def _text_events(item: dict[str, Any], about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    (part,) = item["content"]
    about = {**about, "content_index": 0}
    yield {"type": "response.content_part.added", "part": {**part, "text": ""}, **about}
    for piece in pieces_of(part["text"]):
        yield {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **about}
    yield {"type": "response.output_text.done", "text": part["text"], "logprobs": [], **about}
    yield {"type": "response.content_part.done", "part": part, **about}


def _call_events(item: dict[str, Any], about: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for piece in pieces_of(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece, **about}
    yield {
        "type": "response.function_call_arguments.done",
        "arguments": item["arguments"],
        "name": item["name"],
        **about,
    }


KIT = OpenAIResponses()
