"""A model to talk to on this machine, so that the examples need no key and no network: it says what it is told to say."""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping, Sequence
from typing import Any

import openai

from llmtrace.demo.server import ModelServer

Call = tuple[str, dict[str, Any]]
"""A tool's name and its arguments."""


def scripted(*turns: str | list[Call], client: type = openai.OpenAI) -> Any:
    """An openai client whose model gives the turns one after the other, the last one for ever: a text, or a list of calls."""

    def answer(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        position = sum(message["role"] == "assistant" for message in messages)
        turn = turns[min(position, len(turns) - 1)]
        if isinstance(turn, str):
            return {"role": "assistant", "content": turn}
        functions = [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in turn]
        calls = [{"id": f"call_{position}_{i}", "type": "function", "function": made} for i, made in enumerate(functions)]
        return {"role": "assistant", "content": None, "tool_calls": calls}

    server = ModelServer(answer)
    server.__enter__()
    atexit.register(server.__exit__, None, None, None)
    transport = openai.DefaultAsyncHttpxClient if issubclass(client, openai.AsyncOpenAI) else openai.DefaultHttpxClient
    return client(base_url=server.url, api_key="none", http_client=transport(trust_env=False))
