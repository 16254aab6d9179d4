"""The Responses API by the ``openai`` client, of OpenAI and of a server that speaks it too."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import openai
from openai.resources.responses import Responses

from driver import Call, Exchange, Told, arguments_of

_KNOWN = frozenset(inspect.signature(Responses.create).parameters)
_DELTAS = {"response.output_text.delta": "text", "response.reasoning_text.delta": "reasoning"}


class OpenAIResponses:
    name = "openai"
    library = "openai"
    generic = frozenset({"annotations", "refusal"})

    def takes(self, exchange: Exchange) -> bool:
        return exchange.method == "POST" and exchange.path.endswith("/responses")

    def drive(self, exchange: Exchange, url: str) -> None:
        known = {name: value for name, value in exchange.asked.items() if name in _KNOWN}
        extra = {name: value for name, value in exchange.asked.items() if name not in _KNOWN}
        answer: Any = _client(url).responses.create(**known, extra_body=extra or None)
        if isinstance(answer, openai.Stream):
            for _ in answer:
                pass

    def told(self, exchange: Exchange) -> Told:
        asked = exchange.asked
        items = _items(asked["input"])
        told = Told(
            system=asked.get("instructions") or "",
            input=[(_role(item), _text(item.get("content")) if "role" in item else "") for item in items],
            input_calls=list(_calls(items)),
            results=sum(item.get("type") == "function_call_output" for item in items),
            tools=_offered(asked, items),
        )
        if exchange.status != 200:
            told.failed, told.output, told.calls = True, [], []
            return told
        if not exchange.is_events:
            return _whole(told, exchange.answered)
        return _streamed(told, list(exchange.events))

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        return None


@cache
def _client(url: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)


def _items(given: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _role(item: dict[str, Any]) -> str:
    return str(item.get("role") or ("tool" if item["type"].endswith("_output") else "assistant"))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _calls(items: list[dict[str, Any]]) -> Iterator[Call]:
    for item in items:
        if item.get("type") == "function_call":
            yield Call(item["name"], arguments_of(item["arguments"]), item["call_id"])


def _offered(asked: dict[str, Any], items: list[dict[str, Any]]) -> list[str]:
    """Tools of the request, then those that its input brings; each once."""
    tools = asked.get("tools")
    if not tools:
        return []
    brought = [
        tool for item in items if item.get("type") in ("additional_tools", "tool_search_output") for tool in item["tools"]
    ]
    return list(dict.fromkeys(tool.get("name") or tool["type"] for tool in [*tools, *brought]))


def _whole(told: Told, answer: dict[str, Any]) -> Told:
    items = answer["output"]
    told.output = ["".join(_text(item["content"]) for item in items if item["type"] == "message")]
    thoughts = [item for item in items if item["type"] == "reasoning"]
    told.reasoning = "".join(_thought(item) for item in thoughts)
    told.calls = list(_calls(items))
    return _ended(told, answer)


def _thought(item: dict[str, Any]) -> str:
    return "".join("\n".join(part["text"] for part in item.get(name) or ()) for name in ("summary", "content"))


def _streamed(told: Told, events: list[dict[str, Any]]) -> Told:
    """The deltas, added up; what the last event says of the end."""
    texts = {"text": "", "reasoning": ""}
    calls: dict[int, Call] = {}
    arguments: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind in _DELTAS:
            texts[_DELTAS[kind]] += event["delta"]
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            item = event["item"]
            calls[event["output_index"]] = Call(item["name"], "", item["call_id"])
        elif kind == "response.function_call_arguments.delta":
            index = event["output_index"]
            arguments[index] = arguments.get(index, "") + event["delta"]
    told.output, told.reasoning = [texts["text"]], texts["reasoning"]
    told.calls = [Call(call.name, arguments_of(arguments.get(index, "")), call.id) for index, call in calls.items()]
    return _ended(told, events[-1]["response"])


def _ended(told: Told, answer: dict[str, Any]) -> Told:
    usage = answer.get("usage") or {}
    told.id, told.model = answer["id"], answer["model"]
    told.finish = ["tool_call" if told.calls else "stop"]
    told.input_tokens, told.output_tokens = usage.get("input_tokens"), usage.get("output_tokens")
    told.cache_read = (usage.get("input_tokens_details") or {}).get("cached_tokens")
    told.reasoning_tokens = (usage.get("output_tokens_details") or {}).get("reasoning_tokens")
    return told


DRIVER = OpenAIResponses()
