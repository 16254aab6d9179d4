"""A real Jaeger: one on the PATH, or built as a Go module where Go is new enough, once for all runs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

from llmtrace.codec import genai, otlp
from llmtrace.errors import UnreadableStore
from llmtrace.model import replace
from llmtrace.store import Query, open_store
from tests.cli.traces import SILENT, silent
from tests.store.remote.test_searches import EXPECTED, MADE, ROWS

OLDEST_GO = (1, 26)
MODULE = "github.com/jaegertracing/jaeger/cmd/jaeger"
BUILD_SECONDS = 1800
UI, OTLP = "http://127.0.0.1:16686", "http://127.0.0.1:4318"

pytestmark = [pytest.mark.all, pytest.mark.timeout(BUILD_SECONDS + 300)]


def _go_is_new_enough() -> bool:
    if shutil.which("go") is None:
        return False
    said = subprocess.run(["go", "version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO


def _built() -> str:
    """Jaeger's binary in the cache, built if it is not there: some ten minutes. Skips where its source cannot be had."""
    folder = Path(platformdirs.user_cache_path("llmtrace")) / "jaeger"
    binary = folder / "jaeger"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").unlink(missing_ok=True)
        for command in (["mod", "init", "build"], ["get", f"{MODULE}@main"], ["build", "-o", str(binary), MODULE]):
            done = subprocess.run(
                ["go", *command], cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
            )
            if done.returncode:
                pytest.skip(f"Jaeger cannot be built here: go {' '.join(command)}: {done.stderr.strip()[-300:]}")
    return str(binary)


@pytest.fixture(scope="module")
def jaeger() -> Iterator[str]:
    """Its URL; it listens on its usual ports."""
    binary = shutil.which("jaeger") or shutil.which("jaeger-all-in-one")
    if binary is None:
        if not _go_is_new_enough():
            pytest.skip(f"no jaeger on the PATH, and no Go {OLDEST_GO[0]}.{OLDEST_GO[1]}: recorded answers are read instead")
        binary = _built()
    process = subprocess.Popen([binary], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = UI.replace("http:", "jaeger+http:")
    try:
        for _ in range(300):
            try:
                open_store(url).traces()
                break
            except UnreadableStore:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _send(body: bytes) -> None:
    headers = {"Content-Type": "application/x-protobuf"}
    urllib.request.urlopen(urllib.request.Request(f"{OTLP}/v1/traces", data=body, headers=headers)).close()
    time.sleep(1)


def test_what_was_sent_is_read_back(jaeger: str) -> None:
    """Spans sent by OTLP are a trace with the same operations, and are listed."""
    made = silent()
    _send(otlp.to_protobuf([genai.encode(one) for one in made]))
    store = open_store(jaeger)
    read = store.trace(SILENT)
    assert [one.operation for one in read.spans] == [one.operation for one in sorted(made, key=lambda one: one.start)]
    assert SILENT in {summary.trace_id for summary in store.traces(Query(limit=1000))}


def test_the_searches_of_the_docs(jaeger: str) -> None:
    """Each row of docs/how_to/backends.md, asked as the UI does, finds the runs that it says."""
    now = time.time_ns() - 60 * 10**9
    made = {name: [replace(raw, start=now, end=now + 1000) for raw in raws] for name, raws in MADE.items()}
    _send(otlp.to_protobuf([raw for raws in made.values() for raw in raws]))
    assert open_store(jaeger).traces()
    ids = {raws[0].trace_id: name for name, raws in made.items()}
    for about, tags, _ in ROWS:
        if tags != "not possible":
            wanted = json.dumps(dict(pair.split("=") for pair in tags.split()))
            found = {ids[trace_id] for trace_id in _search(wanted) if trace_id in ids}
            assert found == EXPECTED[about], about


def _search(attributes: str) -> list[str]:
    end = time.gmtime(time.time() + 60)
    options = {
        "query.serviceName": "shop",
        "query.startTimeMin": "2020-01-01T00:00:00Z",
        "query.startTimeMax": time.strftime("%Y-%m-%dT%H:%M:%SZ", end),
        "query.searchDepth": "100",
        "query.attributes": attributes,
    }
    query = urllib.parse.urlencode(options)
    try:
        with urllib.request.urlopen(f"{UI}/api/v3/trace-summaries?{query}") as answer:
            return [summary["traceId"] for summary in json.load(answer)["summaries"]]
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return []
