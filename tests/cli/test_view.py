"""``llmtrace view`` as a command: it answers, opens files, takes spans, and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmtrace.codec import genai, otlp
from tests.cli.traces import SILENT, silent
from tests.commands import running


@contextmanager
def viewing(*words: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    with running("view", "--no-browser", "--json", "--port", "0", *words) as (line, process):
        yield json.loads(line), process


def traces(address: str) -> list[dict[str, Any]]:
    root, _, token = address.partition("#")[0].partition("?token=")
    request = urllib.request.Request(f"{root}api/traces", headers={"authorization": f"Bearer {token}"})
    told: list[dict[str, Any]] = json.load(urllib.request.urlopen(request, timeout=30))["traces"]
    return told


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_trace_of_the_store(store: str) -> None:
    """The address leads to the trace that was named; Ctrl-C ends it, quietly and with 0."""
    with viewing("last", "--store", store) as (told, process):
        assert told["address"].endswith(f"#/trace/{SILENT}")
        assert len(traces(told["address"])) == 2
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")


def test_the_start_loads_what_the_list_needs(llmtrace: Callable[..., Any], store: str) -> None:
    """Over a store that is indexed, answers are given before what a diagnosis or the figures over time need is loaded."""
    llmtrace("ls", "--store", store)
    program = (
        "import os, sys; from llmtrace.cli import main; from llmtrace.viewer import serving\n"
        "def ready(*_):\n"
        "    print([name for name in ('diagnosis', 'lineage', 'signals', 'statistics', 'monitors', 'validation', 'content')"
        " if f'llmtrace.{name}' in sys.modules], flush=True)\n"
        "    os._exit(0)\n"
        "serving._load = ready\n"
        f"main(['view', 'last', '--store', {store!r}, '--no-browser', '--port', '0'])"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_a_file(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """A file of spans is a store that is read once; what cannot be read in it is said."""
    path = tmp_path / "spans.jsonl"
    llmtrace("export", "--all", "-o", str(path), "--store", store)
    with viewing(str(path)) as (told, _):
        assert {row["id"] for row in traces(told["address"])} >= {SILENT}
        assert told["store"] == str(path)


def test_spans_by_otlp_in_the_same_process(store: str) -> None:
    """With --receive, what a program sends by OTLP is there to be looked at."""
    with viewing("--store", store, "--receive", "--http-port", "0") as (told, _):
        body = otlp.to_protobuf([genai.encode(span) for span in moved()])
        headers = {"content-type": "application/x-protobuf"}
        request = urllib.request.Request(f"{told['receive']}/v1/traces", body, headers)
        assert urllib.request.urlopen(request, timeout=30).status == 200
        assert "cd" * 16 in {row["id"] for row in traces(told["address"])}


def moved() -> list[Any]:
    from llmtrace.model import replace

    return [replace(span, trace_id="cd" * 16, run_id=None, sequence=None) for span in silent()]
