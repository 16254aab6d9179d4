"""Programs of many styles, each recorded against a real server and replayed: is the replay the same, and did nothing run?

    python benchmarks/replay_programs.py [--only NAME …] [--json]

Of each program it is counted what the replay asked of the model's server and how often a tool's body ran (0 and 0), and how
long a changed prompt takes to end (10 s at most, exit code 3).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
from llmtrace.demo.server import ModelServer

PRELUDE = """
import asyncio, concurrent.futures, multiprocessing, os, subprocess, sys, threading
import llmtrace
from openai import AsyncOpenAI, OpenAI

llmtrace.configure()
WORD = sys.argv[1] if len(sys.argv) > 1 else "kettle"

def ask(text):
    with OpenAI(base_url=os.environ.get("URL", "http://127.0.0.1:9/v1"), api_key="k", max_retries=0) as client:
        answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content

async def aask(text):
    async with AsyncOpenAI(base_url=os.environ.get("URL", "http://127.0.0.1:9/v1"), api_key="k", max_retries=0) as client:
        answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content

@llmtrace.tool
def note(text: str) -> int:
    with open("ran.txt", "a") as file:
        print(text, file=file)
    return len(text)

def work(number):
    return ask(f"{WORD} {number}"), note(f"{WORD} {number}")
"""
CHILD = """
print(ask(f"child of {WORD}"), note("child"))
"""
MCP_SERVER = """
import llmtrace
try:
    from mcp.server.mcpserver import MCPServer
except ImportError:  # mcp 1
    from mcp.server.fastmcp import FastMCP as MCPServer

llmtrace.configure()
server = MCPServer("shop")

@server.tool()
def price(item: str) -> str:
    with open("ran.txt", "a") as file:
        print(item, file=file)
    return f"{item}: 12 EUR"

server.run()
"""
MCP_CLIENT = """
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def talk():
    command = StdioServerParameters(command=sys.executable, args=["server.py"], env=%s)
    async with stdio_client(command) as streams, ClientSession(*streams) as session:
        await session.initialize()
        await session.list_tools()
        with llmtrace.agent("shop"):
            answer = await aask(f"a {WORD}?")
            found = await session.call_tool("price", {"item": WORD})
            print(answer, found.content[0].text)

asyncio.run(talk())
"""

PROGRAMS: Mapping[str, str] = {
    "one call": "print(ask(WORD))",
    "a tool": "print(work(1))",
    "an agent of five turns": """
@llmtrace.agent
def talk(word):
    return [work(turn) for turn in range(5)]

print(talk(WORD))
""",
    "agents within agents": """
@llmtrace.agent
def inner(word):
    return ask(word) + str(note(word))

@llmtrace.agent
def outer(word):
    return inner(word + "!") + inner(word + "?") + ask(word)

print(outer(WORD))
""",
    "a stream": """
with OpenAI(base_url=os.environ.get("URL", "http://127.0.0.1:9/v1"), api_key="k") as client:
    for chunk in client.chat.completions.create(model="m", messages=[{"role": "user", "content": WORD}], stream=True):
        print(chunk.choices[0].delta.content if chunk.choices else "", end="")
""",
    "tasks of asyncio": """
async def main():
    print(await asyncio.gather(*(aask(f"{WORD} {number}") for number in range(6))))

asyncio.run(main())
""",
    "threads": """
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(work, range(8))))
""",
    "eight equal questions in threads": """
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(list(pool.map(ask, [WORD] * 8)))
""",
    "a generator": """
@llmtrace.tool
def pages(word: str):
    for number in range(3):
        note(f"{word} {number}")
        yield ask(f"{word}, page {number}")

print(list(pages(WORD)))
""",
    "an async tool": """
@llmtrace.tool
async def look(word: str) -> str:
    return await aask(f"look at {word}")

async def main():
    print(await asyncio.gather(look(WORD), look(WORD + "s")))

asyncio.run(main())
""",
    "a tool that fails": """
@llmtrace.tool
def broken(word: str) -> str:
    raise LookupError(word)

try:
    broken(WORD)
except LookupError as error:
    print(ask(f"it failed: {error}"))
""",
    "a tool that starts a program": """
@llmtrace.tool
def listing(word: str) -> str:
    note(word)
    return subprocess.run(["ls"], capture_output=True, text=True, check=True).stdout

listing(WORD)
print(ask(WORD))
""",
    "asked at exit": """
import atexit
atexit.register(lambda: print(ask(f"bye {WORD}")))
print(ask(WORD))
""",
    "exit code 3": "print(ask(WORD))\nsys.exit(3)",
    "a pool that forks": """
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(work, range(6)))
""",
    "a pool that spawns": """
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(work, range(4)))
""",
    "a pool of a fork server": """
if __name__ == "__main__":
    with multiprocessing.get_context("forkserver").Pool(2) as pool:
        print(pool.map(work, range(4)))
""",
    "an agent over a pool": """
@llmtrace.agent
def talk(word):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return ask(word), pool.map(work, range(4))

if __name__ == "__main__":
    print(talk(WORD))
""",
    "an agent over a pool that spawns": """
@llmtrace.agent
def talk(word):
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        return ask(word), list(pool.map(work, range(4)))

if __name__ == "__main__":
    print(talk(WORD))
""",
    "os.fork": """
process = os.fork()
if not process:
    work("child")
    sys.stdout.flush()
    os._exit(0)
os.waitpid(process, 0)
print(work("parent"))
""",
    "a child program": """
print(ask(WORD))
subprocess.run([sys.executable, "child.py", WORD], check=True)
""",
    "a child program with its own environment": """
print(ask(WORD))
narrow = {"URL": os.environ.get("URL", ""), "LLMTRACE_STORE": "store"}
subprocess.run([sys.executable, "child.py", WORD], check=True, env=narrow)
""",
    "an MCP server": MCP_CLIENT % "None",
    "an MCP server with the whole environment": MCP_CLIENT % "dict(os.environ)",
}


class Outcome(NamedTuple):
    recorded: int
    """Exit code of the recorded run."""
    code: int
    """Exit code of the replay."""
    said: str
    asked: int
    """Requests that the model's server got during the replay."""
    ran: int
    """How often a tool's body ran."""
    is_same_output: bool
    changed_code: int
    changed_seconds: float
    is_killed: bool
    """True if the changed program had to be killed after 60 s."""

    @property
    def is_fine(self) -> bool:
        ended = self.changed_code in (3, 4) and self.changed_seconds <= 10 and not self.is_killed
        return self.code == 0 and self.asked == self.ran == 0 and self.is_same_output and ended


def run(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr; 124 if it was killed after 60 s."""
    environment = {**os.environ, "LLMTRACE_STORE": "store", **variables}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        return 124, "", str(error)
    return done.returncode, done.stdout, done.stderr


def try_program(source: str) -> Outcome:
    """Record a program in a folder of its own, replay it, and replay it with another prompt."""
    requests: list[Any] = []

    def script(messages: Any) -> dict[str, Any]:
        requests.append(messages)
        return {"role": "assistant", "content": f"you said: {messages[-1]['content']}"}

    with tempfile.TemporaryDirectory() as name, ModelServer(script, pace=0) as server:
        folder = Path(name)
        (folder / "program.py").write_text(PRELUDE + source, encoding="utf-8")
        (folder / "child.py").write_text(PRELUDE + CHILD, encoding="utf-8")
        (folder / "server.py").write_text(MCP_SERVER, encoding="utf-8")
        url = {"URL": server.url}
        recorded, printed, errors = run([sys.executable, "program.py"], folder, url)
        asked, ran = len(requests), folder / "ran.txt"
        ran.unlink(missing_ok=True)
        replay = [sys.executable, "-m", "llmtrace", "replay", "last", "--", "program.py"]
        code, again, said = run(replay, folder, url)
        counts = len(requests) - asked, len(ran.read_text().splitlines()) if ran.exists() else 0
        began = time.monotonic()
        changed, _, more = run([*replay, "teapot"], folder, url)
        seconds = time.monotonic() - began
    text = said if recorded in (0, 3) else errors
    same = "".join(sorted(printed)) == "".join(sorted(again))
    return Outcome(recorded, code, f"{text}\n{more}", *counts, same, changed, seconds, changed == 124)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="a part of the name of the programs to try")
    parser.add_argument("--verbose", action="store_true", help="print what the replay said")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for name, source in PROGRAMS.items():
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        report.progress(name)
        outcomes[name] = try_program(source)
        if arguments.verbose:
            print(outcomes[name].said, file=sys.stderr)
    head = ["program", "replay", "asked", "bodies", "output", "changed prompt"]
    rows = [
        [
            name,
            {0: "same", 3: "differs", 4: "cannot be compared", 5: "killed"}.get(outcome.code, str(outcome.code)),
            str(outcome.asked),
            str(outcome.ran),
            "same" if outcome.is_same_output else "other",
            f"{outcome.changed_code} after {outcome.changed_seconds:.1f} s",
        ]
        for name, outcome in outcomes.items()
    ]
    fine = sum(outcome.is_fine for outcome in outcomes.values())
    title = f"{fine} of {len(outcomes)} programs replay the same, and end when their prompt has changed"
    report.done(
        {name: outcome._asdict() for name, outcome in outcomes.items()}, [report.table(title, head, rows)], arguments.json
    )
    return 0 if fine == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
