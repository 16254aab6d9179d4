"""A model to talk to on this machine, so that the examples need no key and no network: it says what it is told to say."""

from __future__ import annotations

import atexit
import json
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
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
    return _client(client, server.url)


def _client(client: type, url: str) -> Any:
    transport = openai.DefaultAsyncHttpxClient if issubclass(client, openai.AsyncOpenAI) else openai.DefaultHttpxClient
    return client(base_url=url, api_key="none", http_client=transport(trust_env=False))


def scripted_responses(*turns: str | list[Call]) -> Any:
    """As `scripted`, for the Responses API. What is asked for in the background is the last turn, done when it is fetched."""
    kept: dict[str, Any] = {}

    def create(asked: Mapping[str, Any]) -> dict[str, Any]:
        items = asked["input"] if isinstance(asked["input"], list) else []
        position = sum(item.get("type") == "function_call_output" for item in items)
        turn = turns[-1 if asked.get("background") else min(position, len(turns) - 1)]
        response = _response(f"resp_{len(kept)}", asked["model"], turn)
        kept[response["id"]] = response
        return {**response, "status": "queued", "output": [], "usage": None} if asked.get("background") else response

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._send(create(json.loads(self.rfile.read(int(self.headers["content-length"])))))

        def do_GET(self) -> None:
            self._send(kept[self.path.rpartition("/")[2]])

        def _send(self, response: Mapping[str, Any]) -> None:
            body = json.dumps(response).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    atexit.register(server.shutdown)
    return _client(openai.OpenAI, f"http://127.0.0.1:{server.server_address[1]}/v1")


def _response(response_id: str, model: str, turn: str | list[Call]) -> dict[str, Any]:
    about = {"id": response_id, "object": "response", "created_at": 0.0, "model": model, "status": "completed"}
    given = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    if isinstance(turn, str):
        content = [{"type": "output_text", "text": turn, "annotations": []}]
        output = [{"type": "message", "id": "msg_0", "role": "assistant", "status": "completed", "content": content}]
    else:
        output = [
            {
                "type": "function_call",
                "id": f"fc_{i}",
                "call_id": f"call_{response_id}_{i}",
                "name": name,
                "arguments": json.dumps(a),
            }
            for i, (name, a) in enumerate(turn)
        ]
    usage = {"input_tokens": 60, "output_tokens": 12, "total_tokens": 72}
    return {**about, **given, "output": output, "usage": usage}
