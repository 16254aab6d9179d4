"""The viewer as it runs: uvicorn on a real socket, over a real store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

from llmtrace.model import Span
from llmtrace.store import Store, open_store
from llmtrace.viewer.serving import Serving
from llmtrace.viewer.source import Source
from tests.cli.conftest import broken_diagnosis, llmtrace  # noqa: F401 - fixtures
from tests.cli.traces import recovered, silent


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served(NamedTuple):
    address: str
    port: int
    store: Store

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.address).query)["token"][0]

    def ask(self, path: str, *, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
        """One request. ``headers`` with ``_`` for ``-``. Has the token, unless they say otherwise."""
        if not headers.keys() & {"authorization", "cookie"}:
            headers["authorization"] = f"Bearer {self.token}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host="host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        if body:
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def add(self, *spans: Span) -> None:
        for span in spans:
            self.store.append(span)

    def decide(self, review_id: str, **wish: Any) -> Answer:
        """A decision, as the page sends it."""
        own = {"origin": f"http://127.0.0.1:{self.port}", "x_llmtrace": "1", "content_type": "application/json"}
        return self.ask(f"/api/reviews/{review_id}", method="POST", body=json.dumps(wish).encode(), **own)


@contextmanager
def serving(store: Store, **options: Any) -> Iterator[Served]:
    running = Serving(Source(store), port=0, facts={"store": "a store", "receive": None}, **options)
    started = threading.Event()
    thread = threading.Thread(target=running.run, args=(started.set,), daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield Served(running.address, running.port, store)
    finally:
        running.close()
        thread.join(10)


@contextmanager
def showing(folder: Path, spans: Iterable[Span]) -> Iterator[Served]:
    """A viewer over a new local store with these spans."""
    with closing(open_store(str(folder / "store"))) as store:
        for span in spans:
            store.append(span)
        with serving(store) as served:
            yield served


@pytest.fixture
def serve() -> Callable[..., AbstractContextManager[Served]]:
    return serving


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Served]:
    """Over a local store with two traces: one that recovered, and one that went wrong silently."""
    with showing(tmp_path, (*recovered(), *silent())) as served:
        yield served
