"""The documentation says what is there: options, public names, pages; and its programs run."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

import llmtrace
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
    """docs/api.md has a heading for each public name, and no other."""
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### `([A-Za-z_]+)", page, re.MULTILINE))
    assert headings == set(llmtrace.__all__) - {"__version__"}


def test_public_names_are_pinned() -> None:
    """A public name comes or goes only on purpose."""
    assert sorted(llmtrace.__all__) == [
        "Budget",
        "Tools",
        "__version__",
        "agent",
        "configure",
        "context",
        "current_span",
        "extract",
        "feedback",
        "flush",
        "inference",
        "inject",
        "outcome",
        "retrieval",
        "shutdown",
        "signal",
        "slo",
        "span",
        "suppress",
        "testing",
        "tool",
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


def test_every_page_is_in_the_indexes() -> None:
    """README.md and docs/README.md lead to each page of docs."""
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    for index, prefix in ((ROOT / "README.md", "docs/"), (ROOT / "docs/README.md", "")):
        links = re.findall(rf"\]\({prefix}([a-z_]+\.md)\)", index.read_text(encoding="utf-8"))
        assert pages <= set(links), index


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


def test_getting_started_runs(tmp_path: Path) -> None:
    """The page's blocks, one after the other, are one program; its test passes."""
    *program, test = blocks("docs/getting_started.md")
    passing = test.replace('health == "ok"', 'health == "recovered"')  # this model's first call is a bad one
    ran = run("\n".join([*program, passing, "test_support()"]), tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Done: 42 EUR are on their way.\n", "")
    assert [trace.health for trace in open_store(str(tmp_path / "store")).traces()] == ["failed", "recovered"]


@pytest.mark.parametrize(
    "page", ["anthropic", "budgets", "diagnosis", "lineage", "metrics", "openai", "signals", "statistics", "store"]
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
