"""What the fake model is asked and answers: prompts of 2 and 60 KB, tool calls good and bad, streams of 200 chunks."""

from __future__ import annotations

import json
import random
from typing import Any

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "search_orders",
            "description": "Search the orders of a customer by date range, status and free text.",
            "parameters": {
                "type": "object",
                "properties": {
                    "customer_id": {"type": "string", "pattern": "^C[0-9]{4,}$"},
                    "status": {"type": "string", "enum": ["open", "paid", "shipped", "returned"]},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 100},
                    "include_lines": {"type": "boolean"},
                    "range": {
                        "type": "object",
                        "properties": {"start": {"type": "string"}, "end": {"type": "string"}},
                        "required": ["start"],
                        "additionalProperties": False,
                    },
                    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 10},
                },
                "required": ["customer_id", "status"],
                "additionalProperties": False,
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Current weather for a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
                "required": ["city"],
            },
        },
    },
]
_TEXT = (
    "The quarterly report shows that order volume rose in the north while returns fell; "
    "please reconcile the figures with the ledger and call the right tool. "
)


def _message(role: str, length: int) -> dict[str, Any]:
    return {"role": role, "content": (_TEXT * (length // len(_TEXT) + 1))[:length]}


def _turns(text: Any) -> list[dict[str, Any]]:
    return [{"role": "user" if turn % 2 == 0 else "assistant", "content": text(turn)} for turn in range(59)]


_random = random.Random(7)


def _words(length: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ("".join(_random.choices(letters, k=_random.randint(2, 9))) for _ in range(length // 6))
    return " ".join(words)[:length]


MESSAGES_2K = [
    _message("system", 700), _message("user", 500), _message("assistant", 400),
    {"role": "user", "content": "Which orders of customer C12345 are open? " + _message("user", 360)["content"]},
]  # fmt: skip
"""A user who names the customer that the model then asks for."""
MESSAGES_60K = [_message("system", 1000), *_turns(lambda _: _message("", 1000)["content"])]
"""Sixty messages, but only three different texts: it flatters caches. See the distinct ones."""
MESSAGES_60K_DISTINCT = [
    {"role": "system", "content": _words(1000)},
    *_turns(lambda turn: _words(980) + '\n"quoted" café ' + str(turn)),
]

ARGUMENTS = json.dumps(
    {
        "customer_id": "C12345",
        "status": "open",
        "limit": 20,
        "include_lines": True,
        "range": {"start": "2026-01-01", "end": "2026-02-01"},
        "tags": ["vip", "eu"],
    }
)
_WEATHER = '{"city": "Oslo", "unit": "C"}'


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _completion(finish_reason: str, **message: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish_reason, "logprobs": None}
    choice["message"] = {"role": "assistant", "content": None, "refusal": None, **message}
    usage = {
        "prompt_tokens": 512,
        "completion_tokens": 64,
        "total_tokens": 576,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o-2024-08-06"}
    return json.dumps({**head, "choices": [choice], "usage": usage, "system_fingerprint": "fp_abc"}).encode()


CALLING = _completion(
    "tool_calls", tool_calls=[_call("call_1", "search_orders", ARGUMENTS), _call("call_2", "get_weather", _WEATHER)]
)
CALLING_BADLY = _completion(
    "tool_calls",
    tool_calls=[
        _call("call_1", "search_orders", json.dumps({"customer_id": "12", "status": "lost", "limit": "20", "extra": 1})),
        _call("call_2", "no_such_tool", _WEATHER),
    ],
)
ANSWERING = _completion("stop", content=_TEXT * 4)


def _chunk(delta: dict[str, Any] | None, finish: str | None = None, usage: int | None = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
    counted = None
    if usage is not None:
        counted = {"prompt_tokens": 512, "completion_tokens": usage, "total_tokens": 512 + usage}
    head = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o-2024-08-06"}
    return {**head, "system_fingerprint": "fp_abc", "choices": choices, "usage": counted}


def _stream(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def _piece(index: int, text: str, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": text} if name is None else {"name": name, "arguments": text}
    opened = {} if name is None else {"id": f"call_{index}", "type": "function"}
    return _chunk({"tool_calls": [{"index": index, **opened, "function": function}]})


_TEXT_CHUNKS = [
    _chunk({"role": "assistant", "content": ""}),
    *(_chunk({"content": f" token{number}"}) for number in range(197)),
    _chunk({}, "stop"),
    _chunk(None, usage=197),
]
_CALL_CHUNKS = [
    _chunk({"role": "assistant", "content": None}),
    _piece(0, "", "search_orders"),
    *(_piece(0, ARGUMENTS[at : at + 4]) for at in range(0, len(ARGUMENTS), 4)),
    _piece(1, "", "get_weather"),
    *(_piece(1, text) for text in ('{"city"', ': "Os', 'lo", ', '"unit":', ' "C"}')),
    _chunk({}, "tool_calls"),
    _chunk(None, usage=97),
]
STREAM, STREAM_CALLING = _stream(_TEXT_CHUNKS), _stream(_CALL_CHUNKS)
CHUNKS, CHUNKS_CALLING = len(_TEXT_CHUNKS), len(_CALL_CHUNKS)


def growing(turns: int) -> list[list[dict[str, Any]]]:
    """The prompts of an agent's loop: each is the one before with two calls and their results."""
    prompts = [MESSAGES_2K[:2]]
    for turn in range(turns):
        first, second = _call(f"c{turn}a", "search_orders", ARGUMENTS), _call(f"c{turn}b", "get_weather", '{"city": "Oslo"}')
        results = [
            {"role": "tool", "tool_call_id": call["id"], "content": json.dumps({"turn": turn, "rows": _TEXT})}
            for call in (first, second)
        ]
        prompts.append([*prompts[-1], {"role": "assistant", "content": None, "tool_calls": [first, second]}, *results])
    return prompts
