"""A secret of every documented kind, planted in every input, is in no byte that is written, sent or printed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest

from llmtrace.cli import main
from llmtrace.cli.mcp import run_captured
from llmtrace.mcp_server.reading_tools import ReadingTools
from tests.product_laws.leaking_program import PLACES
from tests.product_laws.secret_kinds import KINDS, Planted, plant
from tests.servers import serving

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "ls", "ls --json", "ls --sessions", "export --all", "export --all --content none", "issues", "issues --json",
    "stats --json", "stats --by user", "stats --by prompt", "review ls --all --json", "freeze", "check --all --json",
    "dead-letters --json",
)  # fmt: skip
ON_A_RUN = (
    "why {}", "why {} --possible --markdown", "why {} --json", "show {} --full", "show {} --json", "show {} --env",
    "lineage {} --unknown", "to-test {} -o {folder}/test_{}.py", "export {} --html -o {folder}/{}.html",
)  # fmt: skip


class Outlets:
    """All bytes that left the program and the commands, by where they went."""

    def __init__(self) -> None:
        self.outputs: list[tuple[str, bytes]] = []

    def add(self, name: str, content: bytes) -> None:
        self.outputs.append((name, content))

    def receive(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        content = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        self.add(f"request to {path}", content)
        self.add(f"headers to {path}", str(dict(headers)).encode())
        return 200, {}, b""

    def add_folder(self, folder: Path) -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                content = file.read_bytes()
                self.add(file.name, gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)

    def leaks(self, planted: Mapping[str, Mapping[str, Planted]]) -> list[str]:
        """Place, kind and outlet of each secret that left."""
        found: dict[str, set[str]] = {}
        for name, content in self.outputs:
            words = b"\n".join(set(re.findall(rb"[a-z0-9]{12,}", content.lower())))  # the same texts stand in many outputs
            for place, secrets in planted.items():
                for kind, secret in secrets.items():
                    if secret.core.lower().encode() in words:
                        found.setdefault(f"{place}: {kind}", set()).add(name)
        return [f"{leak} in {', '.join(sorted(names))}" for leak, names in found.items()]


def run_program(folder: Path, planted: Mapping[str, Mapping[str, Planted]], outlets: Outlets, **options: object) -> None:
    texts = {place: [secret.text for secret in secrets.values()] for place, secrets in planted.items()}
    with serving(outlets.receive) as url:
        document = {
            "planted": texts,
            "feedback": True,
            "options": {"store": str(folder / "store"), "exporters": [f"otlp:{url}"], **options},
        }
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        ended = subprocess.run(
            [sys.executable, "-m", "tests.product_laws.leaking_program"],
            input=json.dumps(document).encode(), capture_output=True, cwd=ROOT, env=environment, timeout=500, check=False,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    outlets.add("the program's stdout", ended.stdout)
    outlets.add("the program's stderr", ended.stderr)
    assert any(name.startswith("request") for name, _ in outlets.outputs)


def run_commands(folder: Path, outlets: Outlets, most_runs: int) -> None:
    store = str(folder / "store")
    listed = json.loads(_printed(["ls", "--json", "--limit", "1000", "--store", store])[0])
    ids = [row["trace_id"] for row in (listed if isinstance(listed, list) else listed["traces"])]
    assert ids
    written = folder / "written"
    written.mkdir()
    commands = [command.split() for command in COMMANDS]
    for trace in ids[:most_runs]:
        commands += [command.replace("{}", trace).replace("{folder}", str(written)).split() for command in ON_A_RUN]
    if len(ids) > 1:
        commands.append(["diff", ids[0], ids[1], "--json"])
    for command in commands:
        out, err = _printed([*command, "--store", store])
        outlets.add(f"stdout of {command[0]}", out.encode(errors="replace"))
        outlets.add(f"stderr of {command[0]}", err.encode(errors="replace"))
    outlets.add_folder(written)
    outlets.add("answers of MCP", asyncio.run(_ask_mcp(store, ids[0])).encode())
    outlets.add_folder(folder / "store")


def _printed(words: Sequence[str]) -> tuple[str, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
        main(list(words))
    out.flush()
    return cast("io.BytesIO", out.buffer).getvalue().decode(), err.getvalue()


async def _ask_mcp(store: str, trace: str) -> str:
    tools = ReadingTools(lambda words: run_captured([*words, "--store", store]))
    answers = [await tools.list_runs(), await tools.why(trace), await tools.show_run(trace), await tools.check_run(trace)]
    answers += [await tools.run_as_markdown(trace), await tools.pending_reviews(), await tools.statistics()]
    return "\n".join(map(str, answers))


@pytest.fixture
def outlets() -> Outlets:
    return Outlets()


FEW = {kind: KINDS[kind] for kind in ("openai", "slack webhook", "curl", "password")}


def test_a_few_kinds_in_every_place(tmp_path: Path, outlets: Outlets) -> None:
    """At level all, where content goes everywhere."""
    planted = {place: plant(place, FEW) for place in PLACES}
    run_program(tmp_path, planted, outlets, content="all")
    run_commands(tmp_path, outlets, 1)
    assert "\n".join(outlets.leaks(planted)) == ""


def test_a_leak_would_be_seen(tmp_path: Path, outlets: Outlets) -> None:
    """Without redaction, the secrets of all places leave but these: what is never recorded, and what was sent in pieces."""
    planted = {place: plant(place, {"openai": KINDS["openai"]}) for place in PLACES}
    run_program(tmp_path, planted, outlets, content="all", redact=False)
    outlets.add_folder(tmp_path / "store")
    leaked = {leak.partition(":")[0] for leak in outlets.leaks(planted)}
    assert set(PLACES) - leaked == {"header", "query", "tool chunks"}


def test_a_few_kinds_in_a_notification(tmp_path: Path, outlets: Outlets) -> None:
    planted = {place: plant(place, {"openai": KINDS["openai"], "password": KINDS["password"]}) for place in PLACES}
    with serving(outlets.receive) as url:
        run_program(tmp_path, planted, outlets, notify=f"{url}/notify", review_timeout=0.3)
    assert sum(name == "request to /notify" for name, _ in outlets.outputs) == 4  # a question and a held call for each kind
    outlets.add_folder(tmp_path / "store")
    assert "\n".join(outlets.leaks(planted)) == ""


@pytest.mark.long
@pytest.mark.parametrize("level", ["all", "local", "none"])
def test_every_kind_in_every_place(level: str, tmp_path: Path, outlets: Outlets, capsys: pytest.CaptureFixture[str]) -> None:
    planted = {place: plant(place) for place in PLACES}
    run_program(tmp_path, planted, outlets, content=level)
    run_commands(tmp_path, outlets, len(KINDS))
    with capsys.disabled():
        size = sum(len(content) for _, content in outlets.outputs)
        print(f"\n{level}: {len(KINDS)} kinds x {len(PLACES)} places, {len(outlets.outputs)} outputs, {size / 1e6:.0f} MB")
    assert "\n".join(outlets.leaks(planted)) == ""
