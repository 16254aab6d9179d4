"""A receiver of spans that tests send to."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.model import RawSpan, Trace
from llmtrace.receiver import Receiver
from llmtrace.receiver.request import JSON
from llmtrace.store import Query
from llmtrace.store.memory import MemoryStore

CALL = {"type": "tool_call", "id": "1", "name": "f", "arguments": "{"}
OUTPUT = json.dumps([{"role": "assistant", "parts": [CALL], "finish_reason": "tool_call"}])
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.output.messages": OUTPUT}


def raw(span: int = 1, trace: int = 1, **fields: Any) -> RawSpan:
    return RawSpan(f"{trace:032x}", f"{span:016x}", "chat m", 1_000, 2_000, **{"attributes": CHAT, **fields})


def send(
    port: int | None, body: bytes | Iterable[bytes], path: str = "/v1/traces", *, method: str = "POST", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """The answer's status, its headers, with names in lower case, and its body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): held for name, held in answer.getheaders()}, answer.read()


class Running:
    """A receiver, its store, and what it said of each trace."""

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self.store = MemoryStore()
        self.judged: list[Trace] = []
        self.told = threading.Event()
        self.ingestor = Ingestor(self.store, content=Content(Config()), quiet=0.05, on_evaluated=self._judged)
        self.receiver = Receiver(self.ingestor, http_port=0, grpc_port=0, origins=origins)

    def _judged(self, trace: Trace) -> None:
        self.judged.append(trace)
        self.told.set()

    def wait(self) -> Trace:
        assert self.told.wait(10)
        self.told.clear()
        return self.judged[-1]

    def send(self, body: bytes | Iterable[bytes], path: str = "/v1/traces", **headers: str) -> tuple[int, bytes]:
        status, _, answer = send(self.receiver.http_port, body, path, **headers)
        return status, answer

    def ask(self, method: str, origin: str) -> tuple[int, dict[str, str]]:
        """Status and headers of the answer to a page of this origin."""
        headers = {"origin": origin, "content_type": JSON, "access_control_request_headers": "content-type,x-key"}
        return send(self.receiver.http_port, b"{}" if method == "POST" else b"", method=method, **headers)[:2]

    def spans(self) -> int:
        return sum(len(self.store.trace(one.trace_id)) for one in self.store.traces(Query(limit=1000)))


@pytest.fixture(scope="module")
def module_running() -> Iterator[Running]:
    one = Running()
    yield one
    one.receiver.close()


@pytest.fixture
def running() -> Iterator[Running]:
    one = Running()
    yield one
    one.receiver.close()
