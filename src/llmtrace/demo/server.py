"""A local HTTP server that speaks OpenAI's chat wire format, including streaming, and answers from a script.

Law: it listens on the loopback interface only, on a free port, and keeps no state between requests.
"""

from __future__ import annotations

import json
import re
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from llmtrace.demo.script import answer

MODEL = "scripted"
"""Name of the scripted model. The server accepts any name, and its answers report the requested name."""

Script = Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]


class ModelServer:
    """``with ModelServer() as server:`` serves at ``server.url`` (ends in ``/v1``) until the block is left.

    ``script`` maps the request's messages to the assistant message. ``pace``: seconds that the model pretends to think before
    an answer; each chunk of a stream takes a tenth of that.
    """

    def __init__(self, script: Script = answer, *, pace: float = 0.05) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.script = script
        self._server.pace = pace
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo model", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client may keep its connection open; leaving the block must not wait for it
    script: Script = staticmethod(answer)
    pace: float = 0.0

    def server_bind(self) -> None:
        # HTTPServer asks for the host's full name here, which can hang where names are not resolved
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may close the connection early
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("/models"):
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "llmtrace"}]})
        else:
            self._refuse(404, f"no such path: {self.path}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.endswith("/chat/completions"):
            return self._refuse(404, f"no such path: {self.path}")
        try:
            request = json.loads(body)
            message = self.server.script(request["messages"])
        except (ValueError, TypeError, KeyError) as error:
            return self._refuse(400, f"not a chat request: {error!r}")
        time.sleep(self.server.pace)
        completion = _completion(request, message)
        if request.get("stream"):
            options = request.get("stream_options") or {}
            self._stream(_chunks(completion, usage=bool(options.get("include_usage"))))
        else:
            self._send(200, completion)
        return None

    def _send(self, status: int, payload: Mapping[str, Any]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}})

    def _stream(self, chunks: Iterator[Mapping[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for chunk in chunks:
                self._event(json.dumps(chunk))
                time.sleep(self.server.pace / 10)
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:  # the client closed the stream early
            self.close_connection = True

    def _event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Print nothing: the trace shows the requests."""


def _completion(request: Mapping[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    prompt, answered = _tokens(request["messages"]), _tokens(message)
    return {
        "id": f"chatcmpl-demo-{len(request['messages'])}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.get("model") or MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"refusal": None, **message},
                "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered},
    }


def _tokens(value: Any) -> int:
    """Estimate tokens as four characters each, since the demo has no tokeniser."""
    return len(json.dumps(value)) // 4


def _chunks(completion: Mapping[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    frame = {key: completion[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    choice = completion["choices"][0]
    for delta in _deltas(choice["message"]):
        yield frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield frame | {"choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]}
    if usage:
        yield frame | {"choices": [], "usage": completion["usage"]}


def _deltas(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a message in pieces as OpenAI sends them: the role, then words of text, then each call's name and arguments."""
    yield {"role": "assistant", "content": "" if message.get("content") else None}
    for word in re.findall(r"\s*\S+", message.get("content") or ""):
        yield {"content": word}
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        head = {"index": index, "id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": ""}}
        yield {"tool_calls": [head]}
        text = function["arguments"]
        for start in range(0, len(text), 8):
            yield {"tool_calls": [{"index": index, "function": {"arguments": text[start : start + 8]}}]}
