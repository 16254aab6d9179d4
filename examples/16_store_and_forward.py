"""A collector that is down while the agent runs: nothing waits for it, and it gets every span when it is back.

    python examples/16_store_and_forward.py

A program usually names the collector by OTEL_EXPORTER_OTLP_ENDPOINT and no line of code. This one brings its own.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import llmtrace
from stand_in import scripted

requests: list[int] = []
down = threading.Event()
down.set()


class Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = len(self.rfile.read(int(self.headers["content-length"])))
        if not down.is_set():
            requests.append(size)
        self.send_response(503 if down.is_set() else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
logging.getLogger("llmtrace").addHandler(logging.StreamHandler(sys.stdout))

llmtrace.configure(exporters=[f"otlp:http://127.0.0.1:{server.server_address[1]}"])


@llmtrace.agent
def support(task: str) -> str | None:
    messages = [{"role": "user", "content": task}]
    return scripted("It is on its way.").chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content


print(support("Where is my kettle?"))
llmtrace.flush()
print(f"while it was down the collector took {len(requests)} requests; the spans are in the journal")
down.clear()
while not requests:  # the forwarder tries again by itself, a little later each time
    time.sleep(0.05)
print(f"when it was back it took {len(requests)}, of {requests[0]} bytes: two spans, without content")
