"""Messages by the ``anthropic`` client: plain and beta, whole and streamed."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import anthropic

from driver import Call, Exchange, Told, arguments_of

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_call",
    "refusal": "content_filter",
}
_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


class Anthropic:
    name = "anthropic"
    library = "anthropic"
    generic = frozenset({"signature", "citations", "redacted_thinking", "tool_addition"})

    def takes(self, exchange: Exchange) -> bool:
        return exchange.provider == "anthropic" and exchange.path.endswith("/messages")

    def drive(self, exchange: Exchange, url: str) -> None:
        client = _client(url)
        create: Any = client.beta.messages.create if exchange.uri.endswith("beta=true") else client.messages.create
        known = inspect.signature(create).parameters
        extra = {name: value for name, value in exchange.asked.items() if name not in known}
        given = {name: value for name, value in exchange.asked.items() if name in known}
        answer = create(**given, extra_body=extra or None)
        if isinstance(answer, anthropic.Stream):
            for _ in answer:
                pass

    def told(self, exchange: Exchange) -> Told:
        asked = exchange.asked
        messages = [(message["role"], _blocks(message["content"])) for message in asked["messages"]]
        told = Told(
            system=_text(_blocks(asked.get("system") or ())),
            input=[(role, _text(blocks)) for role, blocks in messages],
            input_calls=[call for _, blocks in messages for call in _calls(blocks)],
            results=sum(block["type"] == "tool_result" for _, blocks in messages for block in blocks),
            tools=[tool.get("name") or tool["type"] for tool in asked.get("tools") or ()],
        )
        _answer(told, _whole(exchange.events) if exchange.is_events else exchange.answered)
        return told

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        return None


@cache
def _client(url: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="none", base_url=url, max_retries=0)


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _text(blocks: Iterable[dict[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def _calls(blocks: Iterable[dict[str, Any]]) -> Iterator[Call]:
    for block in blocks:
        if block["type"] == "tool_use":
            yield Call(block["name"], arguments_of(block["input"]), block["id"])


def _whole(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream adds up to."""
    message: dict[str, Any] = {}
    for event in events:
        if event["type"] == "message_start":
            message = {**event["message"], "content": []}
        elif event["type"] == "content_block_start":
            message["content"].append({**event["content_block"], "pieces": ""})
        elif event["type"] == "content_block_delta" and event["delta"]["type"] in _PIECES:
            name = _PIECES[event["delta"]["type"]]
            block = message["content"][event["index"]]
            if name == "partial_json":
                block["pieces"] += event["delta"][name]
                block["input"] = block["pieces"] or block["input"]
            else:
                block[name] = (block.get(name) or "") + event["delta"][name]
        elif event["type"] == "message_delta":
            message["stop_reason"] = event["delta"]["stop_reason"]
            message["usage"] = {**message["usage"], **event["usage"]}
    return message


def _answer(told: Told, message: dict[str, Any]) -> None:
    usage, content = message["usage"], message["content"]
    told.output, told.calls = [_text(content)], list(_calls(content))
    told.reasoning = "".join(block["thinking"] for block in content if block["type"] == "thinking")
    told.finish = [_FINISH.get(message["stop_reason"], message["stop_reason"])]
    told.cache_read, told.cache_write = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    told.input_tokens = usage["input_tokens"] + (told.cache_read or 0) + (told.cache_write or 0)
    told.output_tokens = usage["output_tokens"]
    told.id, told.model = message["id"], message["model"]


DRIVER = Anthropic()
