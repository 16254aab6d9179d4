"""A real Jaeger, where there is one on the PATH."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest

from llmtrace.codec import genai, otlp
from llmtrace.errors import UnreadableStore
from llmtrace.store import open_store
from tests.cli.traces import SILENT, silent

JAEGER = shutil.which("jaeger-all-in-one") or shutil.which("jaeger")

pytestmark = [
    pytest.mark.all,
    pytest.mark.skipif(JAEGER is None, reason="no jaeger-all-in-one and no jaeger on the PATH: only its form is tested"),
]


@pytest.fixture
def jaeger(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its URL; it listens on its usual ports."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    process = subprocess.Popen([str(JAEGER)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = "jaeger+http://127.0.0.1:16686"
    try:
        for _ in range(100):
            try:
                open_store(url).traces()
                break
            except UnreadableStore:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def test_what_was_sent_is_read_back(jaeger: str) -> None:
    """Spans sent by OTLP are a trace with the same operations."""
    made = silent()
    body = otlp.to_protobuf([genai.encode(one) for one in made])
    request = urllib.request.Request(
        "http://127.0.0.1:4318/v1/traces", data=body, headers={"Content-Type": "application/x-protobuf"}
    )
    urllib.request.urlopen(request).close()
    time.sleep(1)
    read = open_store(jaeger).trace(SILENT)
    assert [one.operation for one in read.spans] == [one.operation for one in sorted(made, key=lambda one: one.start)]
