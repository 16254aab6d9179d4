"""A model that speaks Anthropic's messages, behind a fake transport: the real client and HTTP classes, no socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
from openai_server import LOOK_UP, Reply, http, pieces_of, sent, sse, whole
from openai_server import Server as _Server

MODEL = "claude-sonnet-4-6"
ASK: list[Any] = [{"role": "user", "content": "Where is order 7?"}]
TOOLS: list[Any] = [{**{key: LOOK_UP[key] for key in ("name", "description")}, "input_schema": LOOK_UP["parameters"]}]
GIVEN: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "messages": ASK}
USAGE = {"input_tokens": 9, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 3, "output_tokens": 7}


# -- answers


def text(content: str = "On its way.", **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": content, **fields}


def tool_use(tool_input: Any = None, *, id: str = "toolu_1", name: str = "look_up") -> dict[str, Any]:  # noqa: A002
    return {"type": "tool_use", "id": id, "name": name, "input": {"order_id": "7"} if tool_input is None else tool_input}


def message(*content: dict[str, Any], stop: str = "end_turn", **fields: Any) -> dict[str, Any]:
    about = {"id": "msg_1", "type": "message", "role": "assistant", "model": f"{MODEL}-20250929"}
    end = {"stop_reason": stop, "stop_sequence": None}
    return {**about, "content": list(content or (text(),)), **end, "usage": USAGE, **fields}


SEARCHED: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "eHh4"},
    text("Let me look."),
    {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "order 7"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srv_1",
        "content": [{"type": "web_search_result", "title": "T", "url": "https://x", "encrypted_content": "ZQ=="}],
    },
    text("Sent.", citations=[{"type": "web_search_result_location", "url": "https://x", "title": "T", "cited_text": "sent"}]),
    tool_use(),
    tool_use({}, id="toolu_2", name="list_all"),
    tool_use({"order_id": "8", "unicode": "é\u2028"}, id="toolu_3"),
]
"""An answer with a block of nearly every kind."""


def events(answer: dict[str, Any] | None = None, *, size: int = 3) -> list[dict[str, Any]]:
    """The stream of a message; its texts come in pieces of ``size`` characters."""
    answer = answer or message()
    end = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    begun = {**answer, "content": [], "stop_reason": None, "usage": {**answer["usage"], "output_tokens": 1}}
    blocks = [event for index, block in enumerate(answer["content"]) for event in _block(index, block, size)]
    return [
        {"type": "message_start", "message": begun},
        {"type": "ping"},
        *blocks,
        {"type": "message_delta", "delta": end, "usage": {"output_tokens": answer["usage"]["output_tokens"]}},
        {"type": "message_stop"},
    ]


def _block(index: int, block: dict[str, Any], size: int) -> Iterator[dict[str, Any]]:
    begun, deltas = dict(block), list[dict[str, Any]]()
    for member in ("text", "thinking"):
        if block["type"] == member:
            begun[member] = ""
            deltas += [{"type": f"{member}_delta", member: piece} for piece in pieces_of(block[member], size)]
    if block["type"] == "thinking":
        begun["signature"] = ""
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    if block.get("citations"):
        begun["citations"] = []
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
    if isinstance(block.get("input"), (dict, str)):
        begun["input"] = {}
        raw = block["input"] if isinstance(block["input"], str) else json.dumps(block["input"])
        deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces_of(raw, size))]
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def streamed(stream_events: list[dict[str, Any]] | None = None, *, breaks: BaseException | None = None) -> Reply:
    return sent(sse(events() if stream_events is None else stream_events), breaks)


def answered(*content: dict[str, Any], **fields: Any) -> Reply:
    return whole(message(*content, **fields))


def refused(status: int, kind: str = "invalid_request_error") -> Reply:
    return whole({"type": "error", "error": {"type": kind, "message": "no"}}, status, **{"retry-after-ms": "1"})


# -- the transport


class Server(_Server):
    """Answers each request with the next reply, and keeps the requests."""

    def client(self, kind: Any = anthropic.Anthropic, **options: Any) -> Any:
        return kind(**_options(http.Client(transport=http.MockTransport(self)), options))

    def aclient(self, kind: Any = anthropic.AsyncAnthropic, **options: Any) -> Any:
        return kind(**_options(http.AsyncClient(transport=http.MockTransport(self.answer)), options))


def _options(client: Any, options: dict[str, Any]) -> dict[str, Any]:
    key = {} if "aws_region" in options or "region" in options else {"api_key": "sk-test"}
    return {**key, "base_url": "http://llm.local:8000", "max_retries": 0, "http_client": client, **options}


__all__ = [
    "ASK",
    "GIVEN",
    "MODEL",
    "SEARCHED",
    "TOOLS",
    "USAGE",
    "Server",
    "answered",
    "events",
    "http",
    "message",
    "refused",
    "sse",
    "streamed",
    "text",
    "tool_use",
    "whole",
]
