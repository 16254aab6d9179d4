"""A canary that fails or is interrupted does not wait for attempts that would still be made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llmtrace.canary.baseline import observe
from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import read_prompts
from llmtrace.errors import EndpointFailed


class Busy(BaseHTTPRequestHandler):
    """Asks to be asked again in half a minute; a question with "key" is refused, a moment later."""

    def do_POST(self) -> None:
        is_refused = b"key" in self.rfile.read(int(self.headers["content-length"]))
        if is_refused:
            time.sleep(0.5)
        self.send_response(401 if is_refused else 503)
        self.send_header("retry-after", "30")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_refusal_ends_the_waiting_of_all_threads(url: str) -> None:
    begin = time.monotonic()
    with pytest.raises(EndpointFailed, match="401"):
        observe(Endpoint("m", url), read_prompts('"busy"\n"key"', {}), 1, parallel=2)
    assert time.monotonic() - begin < 15
