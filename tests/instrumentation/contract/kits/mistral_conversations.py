"""mistralai: beta.conversations. What an answer is cut by, and what was cached, its server does not say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kit import MODEL, SYSTEM, TOOL, Answer, Question, Reply, json_reply, pieces_of
from kits.mistral import Mistral

try:
    import mistralai.client.conversations
except ImportError:  # 1.x
    import mistralai.conversations  # type: ignore[import-not-found,unused-ignore]  # noqa: F401


class MistralConversations(Mistral):
    has_choices = False
    has_cached_tokens = False

    def ask(self, client: Any, question: Question) -> Any:
        resource = client.beta.conversations
        return (resource.start_async if client.is_async else resource.start)(**_request(question))

    def stream(self, client: Any, question: Question) -> Any:
        resource = client.beta.conversations
        return (resource.start_stream_async if client.is_async else resource.start_stream)(**_request(question))

    def text(self, chunk: Any) -> str:
        return str(chunk.data.content) if chunk.event == "message.output.delta" else ""

    def whole(self, answer: Answer) -> Reply:
        steps = [{"type": "message.output", "id": "msg_1", "model": MODEL, "content": answer.text}] if answer.text else []
        calls = [{"type": "function.call", **about, "arguments": arguments} for about, arguments in _calls(answer)]
        return json_reply({"conversation_id": "conv_1", "outputs": [*steps, *calls], "usage": _usage(answer)})

    def streamed(self, answer: Answer) -> Reply:
        pieces = [b"event: %s\ndata: %s\n\n" % (event["type"].encode(), _json(event)) for event in _events(answer)]
        return Reply(tuple(pieces), content_type="text/event-stream")


def _json(event: dict[str, Any]) -> bytes:
    return json_reply(event).pieces[0]


def _request(question: Question) -> dict[str, Any]:
    request = {"model": MODEL, "instructions": SYSTEM, "inputs": question.text}
    request["completion_args"] = {"max_tokens": question.max_tokens}
    return {**request, "tools": [{"type": "function", "function": TOOL}]} if question.tools else request


def _calls(answer: Answer) -> list[tuple[dict[str, Any], str]]:
    return [
        ({"id": f"fc_{call.id}", "tool_call_id": call.id, "name": call.name, "model": MODEL}, call.arguments)
        for call in answer.calls
    ]


def _events(answer: Answer) -> Iterator[dict[str, Any]]:
    yield {"type": "conversation.response.started", "conversation_id": "conv_1"}
    for piece in pieces_of(answer.text):
        yield {"type": "message.output.delta", "id": "msg_1", "output_index": 0, "model": MODEL, "content": piece}
    for index, (about, arguments) in enumerate(_calls(answer), 1 if answer.text else 0):
        for piece in pieces_of(arguments):
            yield {"type": "function.call.delta", **about, "output_index": index, "arguments": piece}
    yield {"type": "conversation.response.done", "usage": _usage(answer)}


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }


KIT = MistralConversations()
