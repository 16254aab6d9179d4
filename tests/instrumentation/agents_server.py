"""A model behind a loopback server that speaks both of OpenAI's APIs, by one script: what it was told in, what it says out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kit import Reply, json_reply, sse_reply
from openai_responses_server import call, events, response, text_item
from openai_server import USAGE, chunk, completion, message, tool_call
from server import Request, Server

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class ModelRequest:
    """One request: the system's instructions, and the tools' answers in it so far."""

    instructions: str
    results: tuple[str, ...]


Script = Callable[[ModelRequest], "str | list[Call]"]


def _by_chat(body: Mapping[str, Any]) -> ModelRequest:
    messages = body["messages"]
    return ModelRequest(
        "".join(str(message["content"]) for message in messages if message["role"] in ("system", "developer")),
        tuple(str(message["content"]) for message in messages if message["role"] == "tool"),
    )


def _by_responses(body: Mapping[str, Any]) -> ModelRequest:
    items = body["input"] if isinstance(body["input"], list) else []
    results = tuple(str(item["output"]) for item in items if item.get("type") == "function_call_output")
    return ModelRequest(body.get("instructions") or "", results)


def _chat(content: str | list[Call], turn: int, *, stream: bool) -> Reply:
    if isinstance(content, str):
        answer, finish = message(content), "stop"
    else:
        calls = [tool_call(json.dumps(arguments), id=f"c{turn}{i}", name=name) for i, (name, arguments) in enumerate(content)]
        answer, finish = message(None, tool_calls=calls), "tool_calls"
    if not stream:
        return json_reply(completion(answer, finish=finish))
    if "tool_calls" in answer:
        answer["tool_calls"] = [{"index": i, **call} for i, call in enumerate(answer["tool_calls"])]
    return sse_reply([chunk(answer), chunk({}, finish=finish), chunk(None, usage=USAGE)], done=b"data: [DONE]\n\n")


def _response(content: str | list[Call], turn: int, *, stream: bool) -> Reply:
    if isinstance(content, str):
        answer = response(text_item(content))
    else:
        calls = [(json.dumps(arguments), f"c{turn}{i}", name) for i, (name, arguments) in enumerate(content)]
        answer = response(*(call(arguments, call_id=call_id, name=name) for arguments, call_id, name in calls))
    return sse_reply(events(answer), named=True) if stream else json_reply(answer)


class AgentsServer(Server):
    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    @property
    def url(self) -> str:
        return f"{super().url}/v1"

    def next(self, request: Request) -> Reply:
        body = json.loads(request.body)
        is_chat = request.path.endswith("/chat/completions")
        model_request = _by_chat(body) if is_chat else _by_responses(body)
        return (_chat if is_chat else _response)(
            self.script(model_request), len(model_request.results), stream=body.get("stream", False)
        )
