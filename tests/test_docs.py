"""The documentation says what is there: options, public names, pages; and its programs run."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace import cli
from llmtrace.config import Config
from llmtrace.demo.server import ModelServer
from llmtrace.store import open_store

ROOT = Path(__file__).resolve().parent.parent


def test_every_option_is_documented() -> None:
    """docs/configuration.md has a row for each option, and no other."""
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = []
    for option in fields(Config):
        default = option.default if option.default is not MISSING else {}
        doc = option.metadata["doc"]
        expected.append(f"| `{option.name}` | `LLMTRACE_{option.name.upper()}` | `{default!r}` | {doc} |")
    assert rows == expected


def test_every_public_name_is_documented() -> None:
    """docs/api*.md have one heading for each public name, and no other."""
    pages = "\n".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("api.md", "api_guards.md", "api_checks.md")
    )
    headings = re.findall(r"^### `([A-Za-z_]+)", pages, re.MULTILINE)
    assert sorted(headings) == sorted(set(llmtrace.__all__) - {"__version__"})


def test_public_names_are_pinned() -> None:
    """A public name comes or goes only on purpose."""
    assert sorted(llmtrace.__all__) == [
        "Budget",
        "Decision",
        "Tools",
        "__version__",
        "agent",
        "cases",
        "checkpoint",
        "configure",
        "context",
        "current_span",
        "extract",
        "feedback",
        "flush",
        "inference",
        "inject",
        "instrument",
        "last",
        "outcome",
        "prompt",
        "replay",
        "resume",
        "resume_review",
        "retrieval",
        "review",
        "reviews",
        "shutdown",
        "signal",
        "slo",
        "span",
        "suppress",
        "testing",
        "tool",
        "validated",
        "workflow",
        "wrap",
    ]
    for name in llmtrace.__all__:
        assert getattr(llmtrace, name) is not None


def test_python_in_the_pages_is_python() -> None:
    """Every Python block in README and docs parses."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            ast.parse(block)


def test_links_in_the_pages_lead_somewhere() -> None:
    """Relative links in README, examples and docs point at files that exist."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
            target = page.parent / link if link else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {link}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    """docs/README.md links to each page of docs, and README.md to docs/README.md."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    links = re.findall(r"\]\(([a-z_]+\.md)\)", (ROOT / "docs/README.md").read_text(encoding="utf-8"))
    assert pages <= set(links)
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^(?:\w+=\S+ )*llmtrace ([^#&|>\n]*)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_pages_are_commands(page: str) -> None:
    """Each line of a shell block that calls llmtrace names a command, and arguments that the command takes."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in COMMAND.findall(block):
            name, *arguments = shlex.split(line)
            parser, module = cli.parser_of(cli.commands()[name])
            parser.parse_args(cli.split(module, arguments)[0])


def blocks(page: str, language: str = "python") -> list[str]:
    """The code blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def answer(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A model that asks for a refund with an amount of the wrong type, then for the right one, then says that it is done."""
    results = sum(message["role"] == "tool" for message in messages)
    if results == 2:
        return {"role": "assistant", "content": "Done: 42 EUR are on their way."}
    arguments = json.dumps({"order_id": "KS-20457", "amount": 42 if results else "42 EUR"})
    call = {"id": f"call_{results}", "type": "function", "function": {"name": "refund", "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def run(program: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own, with a model to talk to and a store in ``folder``."""
    pytest.importorskip("openai")
    (folder / "agent.py").write_text(program, encoding="utf-8")
    stores = {"LLMTRACE_STORE": str(folder / "store"), "XDG_DATA_HOME": str(folder)}  # the second for "auto", where it is named
    with ModelServer(answer, pace=0) as server:
        return subprocess.run(
            [sys.executable, "agent.py"],
            capture_output=True,
            text=True,
            cwd=folder,
            env=os.environ
            | stores
            | {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": server.url, "NO_PROXY": "127.0.0.1"}
            | variables,
            timeout=60,
            check=False,
        )


def test_the_program_of_the_readme_runs(tmp_path: Path) -> None:
    """As it stands: it answers, and the call that broke its schema is in the trace, refused."""
    prices = 'llmtrace.configure(prices={"gpt-4o": {"input": 2.5, "output": 10}})'
    ran = run(blocks("README.md")[0].replace("llmtrace.configure()", prices), tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Done: 42 EUR are on their way.\n", "")
    trace = open_store(str(tmp_path / "store")).trace("last")
    assert trace.health == "recovered"
    assert [span.name for span in trace.spans] == [
        "invoke_agent support",
        "chat gpt-4o",
        "execute_tool refund",
        "chat gpt-4o",
        "execute_tool refund",
        "chat gpt-4o",
    ]


def test_what_the_readme_says_of_why_is_what_why_says(tmp_path: Path) -> None:
    """The text block of the README is part of the demo's output, word for word; the probability may move."""
    program = "import sys; from llmtrace.cli import main; sys.exit(main(['demo']))"
    ran = run(program, tmp_path, OPENAI_BASE_URL="", COLUMNS="80", PYTHONIOENCODING="utf-8")
    assert ran.stderr == ""
    shown, said = (re.sub(r"\d\d %", "", text) for text in (ran.stdout, blocks("README.md", "text")[0]))
    assert said in shown


@pytest.mark.timeout(600)
def test_the_tutorial_runs(tmp_path: Path) -> None:
    """Its programs and commands, in its order, print what the page shows; ids, times and ages may differ."""
    pytest.importorskip("openai")
    agent, written, repair = blocks("docs/tutorial.md")
    flaw = re.findall(r"^@llmtrace.tool\ndef look_up.*?\n\n", agent, re.DOTALL | re.MULTILINE)[0]
    terminal = {"LLMTRACE_STORE": "./traces", "NO_PROXY": "127.0.0.1", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}

    def run_step(command: str) -> str:
        words = [sys.executable if word == "python" else word for word in shlex.split(command, comments=True)]
        if words[0] == "llmtrace":
            words[:1] = [sys.executable, "-m", "llmtrace"]
        ran = subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env=os.environ | terminal, timeout=240, check=False
        )
        assert (ran.returncode == 0) is ("# fails" not in command), ran.stdout + ran.stderr
        return ran.stdout

    page = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    steps = re.findall(r"^```(sh|text|python)\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    printed = ""
    for language, text in steps:
        if text in (agent, repair):
            program = agent if text == agent else agent.replace(flaw, f"{repair}\n")
            (tmp_path / "agent.py").write_text(program, encoding="utf-8")
        elif language == "sh" and "pip install" not in text:
            printed = run_step(text)
        elif text == written:
            test = (tmp_path / "test_refund.py").read_text(encoding="utf-8").replace(sys.executable, "python")
            assert re.sub(r'"Ada .*?"', '"Ada …"', test).endswith(written)
        elif language == "text":
            shown, expected = (re.sub(r"[0-9a-f]{8} .*support|\d+ checks", "", part) for part in (printed, text))
            assert expected.rstrip() in shown
    assert "1 passed" in printed
    (tmp_path / "agent.py").write_text(agent, encoding="utf-8")
    run_step("python -m pytest -q test_refund.py  # fails")


def test_getting_started_runs(tmp_path: Path) -> None:
    """The page's blocks, one after the other, are one program; its test passes."""
    *program, test = blocks("docs/getting_started.md")
    passing = test.replace('health == "ok"', 'health == "recovered"')  # this model's first call is a bad one
    ran = run("\n".join([*program, passing, "test_support()"]), tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Done: 42 EUR are on their way.\n", "")
    assert [trace.health for trace in open_store(str(tmp_path / "store")).traces()] == ["failed", "recovered"]


@pytest.mark.parametrize(
    "page", ["anthropic", "budgets", "custom_signals", "diagnosis", "lineage", "metrics", "openai", "statistics", "store"]
)
def test_blocks_of_the_pages_run(page: str, tmp_path: Path) -> None:
    """Each by itself, where there is a trace to read."""
    before = """
import llmtrace
llmtrace.configure(store="auto")
with llmtrace.agent("a") as span:
    span.output = "x"
llmtrace.shutdown()
"""
    for block in blocks(f"docs/{page}.md"):
        ran = run(before + block, tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")
