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
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace import cli, errors
from llmtrace.codec.writers import WRITERS
from llmtrace.config import Config
from llmtrace.demo.server import ModelServer
from llmtrace.store import open_store
from tests.documentation import DOCS, ROOT, generated, written


def test_every_option_is_documented() -> None:
    """The generated page has a row for each option, with its meaning."""
    rows = [line for line in generated()["reference/configuration.md"].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [option.name for option in fields(Config)]
    assert all(row.rpartition(" | ")[2].strip(" |") for row in rows)


def test_every_public_name_is_documented() -> None:
    """The generated page has a section for each public name, and each part of it says something."""
    page = generated()["reference/api.md"]
    assert sorted(re.findall(r"^### `([A-Za-z_]+)`", page, re.MULTILINE)) == sorted(set(llmtrace.__all__) - {"__version__"})
    assert re.findall(r"^\* `.*`: $", page, re.MULTILINE) == []


def test_every_error_is_documented() -> None:
    """In the tree and with a section of its own."""
    page = generated()["reference/errors.md"]
    tree = re.findall(r"^[│├└─ ]*(\w+)(?: \(| {2,}|$)", page.partition("```text\n")[2].partition("\n```")[0], re.MULTILINE)
    assert sorted(tree) == sorted(re.findall(r"^## `(\w+)`\n\n\w", page, re.MULTILINE))
    assert sorted(tree) == sorted(name for name, value in vars(errors).items() if isinstance(value, type) and name[0] != "_")


def test_public_names_are_pinned() -> None:
    """A public name comes or goes only on purpose."""
    assert sorted(llmtrace.__all__) == [
        "Budget",
        "Decision",
        "Receipt",
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
        "open_store",
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
    for page in written():
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            ast.parse(block)


def test_generated_pages_say_what_the_code_says() -> None:
    """What stands in docs/reference is what scripts/reference.py would write; if not, run it."""
    kept = {name: (DOCS / name).read_text("utf-8") for name in generated() if (DOCS / name).is_file()}
    assert kept == generated(), "run: python scripts/reference.py"
    assert len(written()) + len(kept) == len([ROOT / "README.md", *DOCS.rglob("*.md")])


def test_links_in_the_pages_lead_somewhere() -> None:
    """Relative links in written and generated pages point at pages, files and headings that exist."""
    pages = {path: path.read_text("utf-8") for path in written()}
    pages |= {
        ROOT / name: (ROOT / name).read_text("utf-8") for name in ("CONTRIBUTING.md", "examples/README.md", "deploy/README.md")
    }
    pages |= {DOCS / name: (DOCS / name).read_text("utf-8") for name in generated()}
    for page, text in pages.items():
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            target = Path(os.path.normpath(page.parent / link)) if link else page
            assert target in pages or target.exists(), f"{page}: {link}"
            assert not anchor or anchor in anchors(pages[target]), f"{page}: {link}#{anchor}"


def anchors(text: str) -> set[str]:
    """What the site, and GitHub, make of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_pages_that_code_names_exist() -> None:
    """A docstring or a message that says docs/….md names a page."""
    for folder in ("src", "tests", "scripts", "benchmarks", "examples", "deploy"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".yaml", ".yml"):
                for name in re.findall(r"\bdocs/([\w/]+\.md)", path.read_text("utf-8")):
                    assert (DOCS / name).exists(), f"{path}: docs/{name}"


def test_every_page_is_in_the_index() -> None:
    """docs/README.md links to each page of docs, and README.md to docs/README.md."""
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"README.md"}
    links = re.findall(r"\]\(([a-z_/]+\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8"))
    assert pages <= set(links)
    assert "](docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_documentation_is_short() -> None:
    """README.md and docs/ have at most 36,000 words that somebody wrote, and a page has at most 1,500."""
    counts = {path: sum(bool(re.search(r"\w", word)) for word in path.read_text("utf-8").split()) for path in written()}
    assert sum(counts.values()) <= 36_000
    assert [str(path) for path, count in counts.items() if count > 1_500] == []


def test_every_writer_is_documented() -> None:
    """Each writer of spans that llmtrace knows has a row that says how it sends them."""
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", (DOCS / "how_to/other_languages.md").read_text("utf-8"), re.MULTILINE)
    assert rows[0] == "library"
    assert sorted(rows[1:]) == sorted(writer.name for writer in WRITERS)


PAGES = [str(path.relative_to(ROOT)) for path in written()]
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
    """Its programs and commands, in the order of its three pages, print what they show; ids, times and ages may differ."""
    pytest.importorskip("openai")
    page = "".join(
        (DOCS / "tutorial" / f"first_{name}.md").read_text(encoding="utf-8") for name in ("trace", "failure", "test")
    )
    agent, written, repair = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    flaw = re.findall(r"^@llmtrace.tool\ndef look_up.*?\n\n", agent, re.DOTALL | re.MULTILINE)[0]
    terminal = {"LLMTRACE_STORE": "./traces", "NO_PROXY": "127.0.0.1", "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    terminal["PYTEST_ADDOPTS"] = "-p no:langsmith_plugin"  # its import takes a second

    def run_step(command: str) -> str:
        words = [sys.executable if word == "python" else word for word in shlex.split(command, comments=True)]
        if words[0] == "llmtrace":
            words[:1] = [sys.executable, "-m", "llmtrace"]
        ran = subprocess.run(
            words, capture_output=True, text=True, cwd=tmp_path, env=os.environ | terminal, timeout=240, check=False
        )
        assert (ran.returncode == 0) is ("# fails" not in command), ran.stdout + ran.stderr
        return ran.stdout

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
            shown, expected = (
                re.sub(r"\[[0-9a-f]{8}\]|[0-9a-f]{8} .*support|feedback [0-9a-f]{8}|\d+ checks", "", part)
                for part in (printed, text)
            )
            assert expected.rstrip() in shown
    assert "1 passed" in printed
    (tmp_path / "agent.py").write_text(agent, encoding="utf-8")
    run_step("python -m pytest -q test_refund.py  # fails")


def test_getting_started_runs(tmp_path: Path) -> None:
    """The page's blocks, one after the other, are one program; its test passes."""
    *program, test = blocks("docs/how_to/add_to_a_program.md")
    passing = test.replace('health == "ok"', 'health == "recovered"')  # this model's first call is a bad one
    ran = run("\n".join([*program, passing, "test_support()"]), tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "Done: 42 EUR are on their way.\n", "")
    assert [trace.health for trace in open_store(str(tmp_path / "store")).traces()] == ["failed", "recovered"]


def test_reading_from_python_runs(tmp_path: Path) -> None:
    """The page's program, over one run: its line of a list, the verdict, the tree and each span."""
    before = (
        'import llmtrace\nllmtrace.configure()\nwith llmtrace.agent("a") as span:\n    span.output = "x"\nllmtrace.shutdown()\n'
    )
    ran = run(before + blocks("docs/how_to/read_from_python.md")[0], tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.match(r"[0-9a-f]{32} ok None x\nNothing could be judged\.\ntrace ", ran.stdout)
    assert re.search(r"\ninvoke_agent a [\d.e-]+ AgentInvocation", ran.stdout)


@pytest.mark.parametrize(
    "page",
    [
        "explanation/diagnosis",
        "explanation/lineage",
        "explanation/store",
        "how_to/budgets",
        "how_to/custom_signals",
        "how_to/model_clients",
        "how_to/own_attributes",
        "how_to/redact",
        "how_to/what_changed",
        "reference/metrics",
        "reference/statistics",
    ],
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
