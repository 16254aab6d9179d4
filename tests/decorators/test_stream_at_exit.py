"""A stream that a program leaves early is no program that was cut off, also where nothing closes it before the end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.stored import read

from llmtrace.model import Inference

PROGRAM = """
import llmtrace
from llmtrace.demo.server import MODEL, ModelServer
from openai import OpenAI

llmtrace.configure()
server = ModelServer(pace=0)
server.__enter__()
client = OpenAI(base_url=server.url, api_key="none")

@llmtrace.agent
def support(task):
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": task}], stream=True
    )
    for number, _ in enumerate(stream):
        if number == 1:
            return "early"

support("Where is order KS-20418?")
"""


def test_a_stream_that_is_left_at_the_end_of_the_program(tmp_path: Path) -> None:
    environment = {"LLMTRACE_STORE": str(tmp_path / "store"), "PATH": "", "NO_PROXY": "127.0.0.1"}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment, cwd=tmp_path)
    trace = read(tmp_path / "store")
    assert trace.health == "ok"
    (call,) = [span for span in trace.spans if isinstance(span.operation, Inference)]
    assert call.end is not None
    assert call.operation.partial
