"""A model that speaks Anthropic's messages, on this machine: no key, no network. It says what it is told to say."""

from __future__ import annotations

import atexit
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic


def scripted(*turns: list[dict[str, Any]]) -> anthropic.Anthropic:
    """An anthropic client whose model gives the turns, lists of content blocks, one after the other; the last one for ever."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            position = sum(message["role"] == "assistant" for message in asked["messages"])
            message = answer(asked["model"], turns[min(position, len(turns) - 1)])
            events = list(stream(message)) if asked.get("stream") else []
            body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events) or json.dumps(message)
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if events else "application/json")
            self.send_header("content-length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    atexit.register(server.shutdown)
    return anthropic.Anthropic(
        api_key="none",
        base_url=f"http://127.0.0.1:{server.server_address[1]}",
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    )


def answer(model: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    calls = any(block["type"] == "tool_use" for block in content)
    usage = {"input_tokens": 40, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 0, "output_tokens": 25}
    about = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "usage": usage, "stop_sequence": None}
    return {**about, "content": content, "stop_reason": "tool_use" if calls else "end_turn"}


def stream(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a message; the arguments of a call come in pieces, as text."""
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        if block["type"] == "tool_use":
            begun, kind, name, said = {**block, "input": {}}, "input_json_delta", "partial_json", json.dumps(block["input"])
        else:
            begun, kind, name, said = {**block, "text": ""}, "text_delta", "text", block["text"]
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for start in range(0, len(said), 8):
            yield {"type": "content_block_delta", "index": index, "delta": {"type": kind, name: said[start : start + 8]}}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}
