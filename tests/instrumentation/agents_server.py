"""A model behind a loopback server that speaks both of OpenAI's APIs, by one script: what it was told in, what it says out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Told:
    """One request: the system's instructions, the names of the tools on offer, and the tools' answers in it so far."""

    instructions: str
    tools: tuple[str, ...]
    results: tuple[str, ...] = field(default=())


Script = Callable[[Told], "str | list[Call]"]


def _by_chat(body: Mapping[str, Any]) -> Told:
    messages = body["messages"]
    return Told(
        "".join(str(message["content"]) for message in messages if message["role"] in ("system", "developer")),
        tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
        tuple(str(message["content"]) for message in messages if message["role"] == "tool"),
    )


def _by_responses(body: Mapping[str, Any]) -> Told:
    items: Sequence[Any] = body["input"] if isinstance(body["input"], list) else []
    return Told(
        body.get("instructions") or "",
        tuple(tool["name"] for tool in body.get("tools") or ()),
        tuple(str(item["output"]) for item in items if item.get("type") == "function_call_output"),
    )


def _chat(content: str | list[Call], model: str, turn: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content if isinstance(content, str) else None}
    if not isinstance(content, str):
        message["tool_calls"] = [
            {"id": f"c{turn}{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for i, (name, arguments) in enumerate(content)
        ]
    reason = "stop" if isinstance(content, str) else "tool_calls"
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2}}
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14, **details}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": usage,
    }


def _chat_events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    choice = whole["choices"][0]
    delta = dict(choice["message"])
    if "tool_calls" in delta:
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta["tool_calls"])]
    chunk = {"id": whole["id"], "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    return [
        {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
        {**chunk, "choices": [], "usage": whole["usage"]},
    ]


def _response(answer: str | list[Call], model: str, turn: int) -> dict[str, Any]:
    if isinstance(answer, str):
        content = [{"type": "output_text", "text": answer, "annotations": []}]
        output: list[Any] = [{"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": content}]
    else:
        output = [
            {
                "type": "function_call",
                "id": f"f{turn}{i}",
                "call_id": f"c{turn}{i}",
                "name": name,
                "arguments": json.dumps(arguments),
                "status": "completed",
            }
            for i, (name, arguments) in enumerate(answer)
        ]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 11,
            "output_tokens": 3,
            "total_tokens": 14,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 2},
        },
    }


def _response_events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    begun = {**whole, "status": "in_progress", "output": []}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for i, item in enumerate(whole["output"]):
        events.append({"type": "response.output_item.added", "output_index": i, "item": item})
        events.append({"type": "response.output_item.done", "output_index": i, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [{**event, "sequence_number": i} for i, event in enumerate(events)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AgentsServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chat = self.path.endswith("/chat/completions")
        request = _by_chat(body) if chat else _by_responses(body)
        answer = (_chat if chat else _response)(self.server.script(request), body["model"], len(request.results))
        if body.get("stream"):
            events = _chat_events(answer) if chat else _response_events(answer)
            lines = [
                (f"event: {event['type']}\n" if "type" in event else "") + f"data: {json.dumps(event)}\n\n" for event in events
            ]
            self._send("".join([*lines, "data: [DONE]\n\n"] if chat else lines), "text/event-stream")
        else:
            self._send(json.dumps(answer), "application/json")

    def _send(self, text: str, kind: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class AgentsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    def __enter__(self) -> AgentsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
