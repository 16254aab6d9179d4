"""``generateContent`` and ``streamGenerateContent`` by the ``google-genai`` client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from google import genai
from google.genai import types

from driver import Call, Exchange, Told

_FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
_CONFIG = ("systemInstruction", "tools", "toolConfig", "safetySettings", "cachedContent", "labels")


class GoogleGenai:
    name = "google_genai"
    library = "google.genai"
    generic = frozenset({"citations", "finish_message", "prompt_feedback"})

    def takes(self, exchange: Exchange) -> bool:
        return exchange.provider == "google" and exchange.path.endswith((":generateContent", ":streamGenerateContent"))

    def drive(self, exchange: Exchange, url: str) -> None:
        asked = exchange.asked
        config = {name: asked[name] for name in _CONFIG if asked.get(name)} | (asked.get("generationConfig") or {})
        model = exchange.path.rpartition("/")[2].partition(":")[0]
        given: Any = {"model": model, "contents": asked["contents"], "config": types.GenerateContentConfig(**config)}
        models = _client(url).models
        if exchange.is_events:
            for _ in models.generate_content_stream(**given):
                pass
        else:
            models.generate_content(**given)

    def told(self, exchange: Exchange) -> Told:
        asked = exchange.asked
        contents = [(content, content.get("parts") or ()) for content in asked["contents"]]
        offered = [one for tool in asked.get("tools") or () for one in _offered(tool)]
        told = Told(
            system=_text((asked.get("systemInstruction") or {}).get("parts") or ()),
            input=[(_role(content), _text(parts)) for content, parts in contents],
            input_calls=[call for _, parts in contents for call in _calls(parts)],
            results=sum("functionResponse" in part for _, parts in contents for part in parts),
            tools=offered,
        )
        _answer(told, list(exchange.events) if exchange.is_events else [exchange.answered])
        return told

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        if b"<redacted>" in exchange.request:
            return "the recorded file was redacted, and the SDK refuses it as no base64"
        return None


@cache
def _client(url: str) -> genai.Client:
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=url))


def _offered(tool: dict[str, Any]) -> Iterator[str]:
    for name, given in tool.items():
        declared = name in ("functionDeclarations", "function_declarations")
        yield from (one["name"] for one in given) if declared else (_SERVER_TOOLS.get(name, name),)


_SERVER_TOOLS = {"googleSearch": "google_search", "codeExecution": "code_execution", "urlContext": "url_context"}


def _role(content: dict[str, Any]) -> str:
    """What functions answered is said by a tool, unless the user says something with it."""
    parts = content.get("parts") or ()
    if any("functionResponse" in part for part in parts) and not any(part.get("text") for part in parts):
        return "tool"
    return "assistant" if content.get("role") == "model" else content.get("role") or "user"


def _text(parts: Iterable[dict[str, Any]]) -> str:
    return "".join(part.get("text") or "" for part in parts if not part.get("thought"))


def _calls(parts: Iterable[dict[str, Any]]) -> Iterator[Call]:
    for part in parts:
        call = part.get("functionCall") or part.get("function_call")
        if call:
            yield Call(call["name"], call.get("args") or {}, call.get("id"))


def _answer(told: Told, bodies: list[dict[str, Any]]) -> None:
    parts = [part for body in bodies for part in _parts(body)]
    usage: dict[str, Any] = {}
    for body in bodies:
        usage |= body.get("usageMetadata") or {}
        told.id, told.model = body.get("responseId") or told.id, body.get("modelVersion") or told.model
    told.output, told.calls = [_text(parts)], list(_calls(parts))
    told.reasoning = "".join(part.get("text") or "" for part in parts if part.get("thought"))
    reasons = [one["finishReason"] for body in bodies for one in body.get("candidates") or () if "finishReason" in one]
    called = bool(told.calls) and reasons[-1:] == ["STOP"]
    told.finish = ["tool_call" if called else _FINISH[reason] for reason in reasons[-1:]]
    told.input_tokens = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
    told.output_tokens = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    told.cache_read, told.reasoning_tokens = usage.get("cachedContentTokenCount"), usage.get("thoughtsTokenCount")


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for candidate in body.get("candidates") or ():
        yield from (candidate.get("content") or {}).get("parts") or ()


DRIVER = GoogleGenai()
