"""Chat of the v2 API by the ``cohere`` client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import cohere

from driver import Call, Exchange, Told, arguments_of

_FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_call"}


class Cohere:
    name = "cohere"
    library = "cohere"
    generic = frozenset({"citations"})

    def takes(self, exchange: Exchange) -> bool:
        return exchange.provider == "cohere" and exchange.path == "/v2/chat"

    def drive(self, exchange: Exchange, url: str) -> None:
        given = {name: value for name, value in exchange.asked.items() if name != "stream"}
        client = _client(url)
        if exchange.is_events:
            for _ in client.chat_stream(**given):
                pass
        else:
            client.chat(**given)

    def told(self, exchange: Exchange) -> Told:
        messages = exchange.asked["messages"]
        answer = _whole(exchange.events) if exchange.is_events else exchange.answered
        message, billed = answer["message"], answer["usage"]["billed_units"]
        return Told(
            input=[(one["role"], "" if one["role"] == "tool" else _text(one.get("content"))) for one in messages],
            input_calls=[call for one in messages for call in _calls(one.get("tool_calls"))],
            results=sum(one["role"] == "tool" for one in messages),
            tools=[tool["function"]["name"] for tool in exchange.asked.get("tools") or ()],
            output=[_text(message.get("content"))],
            reasoning=message.get("tool_plan") or "",
            calls=list(_calls(message.get("tool_calls"))),
            finish=[_FINISH[answer["finish_reason"]]],
            input_tokens=int(billed["input_tokens"]),
            output_tokens=int(billed["output_tokens"]),
            id=answer["id"],
        )

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        return None


@cache
def _client(url: str) -> cohere.ClientV2:
    return cohere.ClientV2(api_key="none", base_url=url, max_retries=0)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _calls(calls: Iterable[dict[str, Any]] | None) -> Iterator[Call]:
    for call in calls or ():
        yield Call(call["function"]["name"], arguments_of(call["function"]["arguments"]), call["id"])


def _whole(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The answer that a stream adds up to."""
    message: dict[str, Any] = {"content": [], "tool_plan": "", "tool_calls": []}
    answer: dict[str, Any] = {"message": message}
    for event in events:
        kind, delta = event["type"], (event.get("delta") or {}).get("message") or {}
        if kind == "message-start":
            answer["id"] = event["id"]
        elif kind in ("content-start", "content-delta"):
            message["content"].append(delta["content"])
        elif kind == "tool-plan-delta":
            message["tool_plan"] += delta["tool_plan"]
        elif kind == "tool-call-start":
            message["tool_calls"].append(delta["tool_calls"])
        elif kind == "tool-call-delta":
            message["tool_calls"][event["index"]]["function"]["arguments"] += delta["tool_calls"]["function"]["arguments"]
        elif kind == "message-end":
            answer |= event["delta"]
    return answer


DRIVER = Cohere()
