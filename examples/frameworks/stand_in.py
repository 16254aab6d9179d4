"""The model of these programs, on this machine: it asks for two orders at once, one of them by a number instead of a text, and
then answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmtrace.demo.server import ModelServer

ANSWER = "KS-1 is on its way."


def model(*, answer_by: str | None = None) -> ModelServer:
    """A server to be entered; its ``url`` ends in /v1. ``answer_by``: the tool that the framework has its models answer by."""

    def say(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        told = json.dumps(messages)
        if "to Bonn" not in told and "has type" not in told:  # neither a result nor a refusal so far
            return _calling(("look_up", {"order_id": "KS-1"}), ("look_up", {"order_id": 2}))
        return _calling((answer_by, {"answer": ANSWER})) if answer_by else {"role": "assistant", "content": ANSWER}

    return ModelServer(say, pace=0)


def _calling(*wanted: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    calls = [
        {"id": f"call_{name}_{place}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(wanted)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}
