"""Chat completions by the ``openai`` client: OpenAI's own, Azure's, and of the servers that speak the same protocol."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any

import openai

from driver import Call, Exchange, Told, arguments_of

_KNOWN = frozenset(inspect.signature(openai.resources.chat.completions.Completions.create).parameters)
_FINISH = {"tool_calls": "tool_call", "function_call": "tool_call"}


class OpenAI:
    name = "openai"
    library = "openai"
    generic = frozenset({"refusal", "annotations"})

    def takes(self, exchange: Exchange) -> bool:
        return exchange.path.endswith("/chat/completions")

    def drive(self, exchange: Exchange, url: str) -> None:
        known = {name: value for name, value in exchange.asked.items() if name in _KNOWN}
        extra = {name: value for name, value in exchange.asked.items() if name not in _KNOWN}
        known.setdefault("model", exchange.path.split("/")[-3])  # Azure: the deployment
        answer: Any = _client(url, exchange.provider).chat.completions.create(**known, extra_body=extra or None)
        if isinstance(answer, openai.Stream):
            for _ in answer:
                pass

    def told(self, exchange: Exchange) -> Told:
        asked = exchange.asked
        offered = asked.get("tools") or asked.get("functions") or ()
        sent = Told(
            input=[(message["role"], _shown(message)) for message in asked["messages"]],
            input_calls=[call for message in asked["messages"] for call in _calls(message)],
            results=sum(message["role"] in ("tool", "function") for message in asked["messages"]),
            tools=[_name(tool) for tool in offered],
        )
        if exchange.status != 200:
            sent.failed, sent.output, sent.calls = True, [], []
            return sent
        bodies = list(exchange.events) if exchange.is_events else [exchange.answered]
        return _answer(sent, bodies, exchange.is_events)

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        return None


@cache
def _client(url: str, provider: str) -> openai.OpenAI:
    if provider == "azure-openai":
        return openai.AzureOpenAI(api_key="none", azure_endpoint=url, api_version="2024-06-01", max_retries=0)
    return openai.OpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)


def _name(tool: dict[str, Any]) -> str:
    return str((tool.get("function") or tool.get("custom") or tool)["name"])


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _shown(message: dict[str, Any]) -> str:
    """The text of a message that was sent; a tool's result is none."""
    return "" if message["role"] in ("tool", "function") else _text(message.get("content"))


def _calls(message: dict[str, Any]) -> Iterator[Call]:
    for call in message.get("tool_calls") or ():
        custom = call.get("custom")
        function = custom or call["function"]
        raw = function["input"] if custom else arguments_of(function["arguments"])
        yield Call(function["name"], raw, call.get("id"))
    if message.get("function_call"):
        yield Call(message["function_call"]["name"], arguments_of(message["function_call"]["arguments"]))


def _answer(told: Told, bodies: list[dict[str, Any]], streamed: bool) -> Told:
    choices: dict[int, _Choice] = {}
    usage: dict[str, Any] = {}
    for body in bodies:
        usage = body.get("usage") or usage
        told.id = told.id or body.get("id") or None
        told.model = told.model or body.get("model") or None
        told.failed = told.failed or bool(body.get("error"))
        for choice in body.get("choices") or ():
            choices.setdefault(choice["index"], _Choice()).add(choice)
    told.output = [choice.text for _, choice in sorted(choices.items())]
    told.reasoning = "".join(choice.reasoning for _, choice in sorted(choices.items()))
    told.calls = [call for _, choice in sorted(choices.items()) for call in choice.calls()]
    told.partial = streamed and told.failed
    told.finish = [choice.finish or "error" for _, choice in sorted(choices.items()) if choice.finish or not told.partial]
    told.input_tokens, told.output_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    told.cache_read = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    told.reasoning_tokens = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    return told


class _Choice:
    """One choice, added up from a message or from its deltas."""

    def __init__(self) -> None:
        self.text = self.reasoning = ""
        self.finish: str | None = None
        self._calls: dict[int, list[Any]] = {}

    def add(self, choice: dict[str, Any]) -> None:
        said = choice.get("message") or choice.get("delta") or {}
        content = said.get("content")
        self.text += _text(content)
        if isinstance(content, list):  # Mistral
            self.reasoning += "".join(_text(part["thinking"]) for part in content if part.get("type") == "thinking")
        self.reasoning += said.get("reasoning_content") or said.get("reasoning") or ""
        reason = choice.get("finish_reason")
        self.finish = _FINISH.get(reason, reason) or self.finish
        legacy = [{"function": said["function_call"]}] if said.get("function_call") else []
        for place, call in enumerate(said.get("tool_calls") or legacy):
            function = call.get("function") or {}
            one = self._calls.setdefault(call.get("index", place), ["", "", None])
            one[0] = one[0] or function.get("name") or ""
            one[1] += function.get("arguments") or ""
            one[2] = one[2] or call.get("id")

    def calls(self) -> Iterator[Call]:
        for name, arguments, call_id in self._calls.values():
            yield Call(name, arguments_of(arguments), call_id)


DRIVER = OpenAI()
