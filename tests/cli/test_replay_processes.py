"""``llmtrace replay`` of programs of several processes, and of programs that start others.

Laws: one record answers all processes of a program, and nothing starts that was not allowed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmtrace.playback.no_network import network
from tests.benchmark_program import benchmark
from tests.cli.conftest import Ran

pytestmark = pytest.mark.timeout(300)
USUAL = ("a pool that forks", "a child program with its own environment", "an MCP server with the whole environment")
"""Programs that are tried in each run of the tests."""

TOOLS = """
import os, subprocess, sys
import llmtrace
llmtrace.configure()

@llmtrace.tool
def look_up(order_id: str) -> int:
    return 1
"""
WORKERS = (
    TOOLS
    + """
import multiprocessing

def work(number):
    return look_up(f"KS-{sys.argv[1]}{number}")

@llmtrace.agent
def desk(task):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(work, range(4))

if __name__ == "__main__":
    desk("all")
"""
)


BENCHMARK = benchmark("replay_programs")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LLMTRACE_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.fixture
def sink() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server, and the bodies that were posted to it."""
    posted: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", posted
        server.shutdown()
        thread.join()


def said(ran: Ran) -> str:
    return " ".join(ran.err.split())


@pytest.mark.parametrize(
    "name", [name if name in USUAL else pytest.param(name, marks=pytest.mark.all) for name in BENCHMARK.PROGRAMS]
)
def test_a_program_of_this_style_is_the_same(name: str) -> None:
    """No model is asked and no body runs; with a changed prompt it ends in ten seconds and says that it differs."""
    if "MCP" in name:
        pytest.importorskip("mcp")
    outcome = BENCHMARK.try_program(BENCHMARK.PROGRAMS[name])
    assert outcome.is_fine, outcome


SEND = "import sys, urllib.request as request; request.urlopen(sys.argv[1], b'refund')"
ALONE = f'subprocess.run([sys.executable, "-I", "-c", """{SEND}""", sys.argv[1]])'
"""A Python process that ignores its environment takes no part in the replay."""
POST = 'subprocess.run(["curl", "-s", "-d", "refund", sys.argv[1]], check=False)'


IN_C = """
import ctypes, socket, struct
library, port = ctypes.CDLL(None, use_errno=True), int(sys.argv[1].rsplit(":")[-1].strip("/"))
its_socket = library.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
address = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton("127.0.0.1") + bytes(8)
if library.connect(its_socket, address, 16) == 0:
    library.send(its_socket, b"POST / HTTP/1.0\\r\\nContent-Length: 6\\r\\n\\r\\nrefund", 45, 0)
    library.recv(its_socket, ctypes.create_string_buffer(99), 99, 0)
"""
"""Sends a request as libpq or grpc do, without Python's own modules."""


@pytest.mark.skipif(not network(), reason="needs Linux's network namespaces")
def test_code_in_c_has_no_network(sink: tuple[str, list[bytes]], folder: Path, llmtrace: Callable[..., Ran]) -> None:
    url, posted = sink
    (folder / "agent.py").write_text(TOOLS + f"look_up('KS-1')\n{IN_C}\nlook_up('KS-2')\n", encoding="utf-8")
    subprocess.run([sys.executable, "agent.py", url], check=True)
    assert posted == [b"refund"]
    ran = llmtrace("replay", "last", "--", "agent.py", url)
    assert ran.code == 0, ran.err
    if "by Python's own modules" in said(ran):
        pytest.skip("this machine permits no network namespaces")
    assert "2 calls answered" in said(ran)
    assert "nothing was sent;" in said(ran)
    assert posted == [b"refund"]


def test_a_name_that_a_server_would_be_asked_for(folder: Path, llmtrace: Callable[..., Ran]) -> None:
    """It is refused as the connection would be; the names of this machine are known without a server."""
    ask = "import socket; socket.create_server(('localhost', 0)); socket.getaddrinfo(socket.gethostname(), 0)\n"
    ask += "try: socket.getaddrinfo('prices.example.invalid', 443)\nexcept OSError: pass\n"
    (folder / "agent.py").write_text(TOOLS + f"look_up('KS-1')\n{ask}", encoding="utf-8")
    subprocess.run([sys.executable, "agent.py"], check=True)
    ran = llmtrace("replay", "last", "--", "agent.py")
    assert ran.code == 3, ran.err
    assert "network: the program connects to prices.example.invalid:443" in said(ran)
    allowed = llmtrace("replay", "last", "--connect", "prices.example.invalid:443", "--", "agent.py")
    assert allowed.code == 0, allowed.err
    assert "connected to prices.example.invalid:443" in said(allowed)


@pytest.mark.skipif(sys.platform == "win32", reason="curl and sh")
@pytest.mark.parametrize(
    ("start", "program"),
    [
        (POST, "curl"),
        ('os.system(f"curl -s -d refund {sys.argv[1]}")', "sh"),
        ('subprocess.run(f"curl -s -d refund {sys.argv[1]}", shell=True)', "sh"),
        ('os.spawnlp(os.P_WAIT, "curl", "curl", "-s", "-d", "refund", sys.argv[1])', "curl"),
        ('os.posix_spawnp("curl", ["curl", "-s", "-d", "refund", sys.argv[1]], os.environ)', "curl"),
        (ALONE, "python"),
        (ALONE.replace('"-I"', '"-X", "dev", "-I"'), "python"),
    ],
)
def test_another_program_is_refused(
    sink: tuple[str, list[bytes]], folder: Path, llmtrace: Callable[..., Ran], start: str, program: str
) -> None:
    url, posted = sink
    (folder / "agent.py").write_text(TOOLS + f"look_up('KS-1')\n{start}\nos.path.exists('waited')\n", encoding="utf-8")
    subprocess.run([sys.executable, "agent.py", url], check=False)
    time.sleep(0.3)  # posix_spawn does not wait
    assert posted == [b"refund"]
    ran = llmtrace("replay", "--", "agent.py", url)
    assert ran.code == 3, ran.err
    assert f"program: the program starts {program}" in said(ran)
    assert "--allow-program" in said(ran)
    time.sleep(0.3)
    assert posted == [b"refund"]


@pytest.mark.skipif(sys.platform == "win32", reason="curl")
def test_an_allowed_program_starts_and_is_named(
    sink: tuple[str, list[bytes]], folder: Path, llmtrace: Callable[..., Ran]
) -> None:
    url, posted = sink
    (folder / "agent.py").write_text(TOOLS + f"look_up('KS-1')\n{POST}\n", encoding="utf-8")
    subprocess.run([sys.executable, "agent.py", url], check=False)
    ran = llmtrace("replay", "--allow-program", "curl", "--", "agent.py", url)
    assert ran.code == 0, ran.err
    assert "same: 1 call answered" in said(ran)
    assert "started curl" in said(ran)
    assert "nothing was sent" not in said(ran)
    assert posted == [b"refund", b"refund"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_what_is_left_over_is_counted_once(folder: Path, llmtrace: Callable[..., Ran]) -> None:
    (folder / "workers.py").write_text(WORKERS, encoding="utf-8")
    subprocess.run([sys.executable, "workers.py", "1"], check=True)
    text = WORKERS.replace("range(4)", "range(3)")
    (folder / "workers.py").write_text(text, encoding="utf-8")
    ran = llmtrace("replay", "--json", "--", "workers.py", "1")
    (run,) = json.loads(ran.out)["runs"]
    assert run["served"] == 3
    assert [divergence["kind"] for divergence in run["divergences"]] == ["output", "left over"]


EQUAL = """
import concurrent.futures, itertools, os, threading
import llmtrace
llmtrace.configure()
numbers, barrier = itertools.count(), threading.Barrier(4)

@llmtrace.tool
def draw(word: str) -> int:
    number = next(numbers)
    barrier.wait(20)
    return number

@llmtrace.agent
def desk(task):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        drawn = sum(pool.map(draw, "aaaa"))
    return os.environ.get("SAYS", f"{drawn} of four")

print(desk("go"))
"""


def test_equal_calls_at_once_are_said_to_be_that(folder: Path, llmtrace: Callable[..., Ran]) -> None:
    """Which thread gets which recorded answer is chance."""
    (folder / "equal.py").write_text(EQUAL, encoding="utf-8")
    subprocess.run([sys.executable, "equal.py"], cwd=folder, check=True, capture_output=True)
    ran = llmtrace("replay", "last", "--", "equal.py")
    assert ran.code == 0, ran.err
    assert "4 equal calls of execute_tool draw ran at once" in " ".join(ran.err.split())


def test_what_the_agent_says_is_compared(folder: Path, llmtrace: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """All requests are the same, and the answer is not: the replay differs."""
    (folder / "equal.py").write_text(EQUAL, encoding="utf-8")
    subprocess.run([sys.executable, "equal.py"], cwd=folder, check=True, capture_output=True)
    monkeypatch.setenv("SAYS", "7 of four")
    ran = llmtrace("replay", "last", "--", "equal.py")
    assert ran.code == 3
    said = " ".join(ran.err.split())
    assert "output: invoke_agent desk" in said
    assert "it answers something else: message 1 (assistant): [-6-] {+7+} of four" in said, said
