"""Every example runs as its page says, without a key and without a network, and says nothing on stderr; those that
``llmtrace run`` starts have its summary there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmtrace.store import Query, open_store

FOLDER = Path(__file__).resolve().parent.parent / "examples"

EXAMPLES = {
    "01_support_agent.py": (["recovered"], "Done: I refunded 42.0 EUR for order KS-20457."),
    "02_undecorated.py": (["suspect"], "Your table is booked."),
    "03_policies.py": (["suspect", *["recovered"] * 3] * 2, "  repair   refunded 42.0 for 'KS-20457'"),
    "04_budget.py": (["suspect", "failed"], "stopped:  budget of 4 calls is spent (4 calls used)"),
    "05_parallel_tools.py": (["ok"], "3 tools of 0.3 s each took"),
    "06_own_tracer_provider.py": (["ok", "ok"], "  chat gpt-4o     content: -"),
    "07_testing.py": ([], "test_a_wrong_call_is_answered_and_mended passed"),
    "08_why_in_code.py": (["failed"], "answer <- refund <- look_up <- argument /order_id"),
    "09_openai_responses.py": (
        ["recovered", "ok"],
        "The blue kettle of order KS-20457 is on its way.\nthe report is queued\nthe report is completed",
    ),
    "10_anthropic.py": (["recovered"], "I refunded 42 EUR for your blue kettle."),
    "11_mcp.py": (["recovered"], "order KS-20457 is on its way"),
    "12_langgraph.py": (["ok"] * 3, "waits for: {'refund?': 42}\nwas told: yes"),
    "13_openai_agents.py": (["ok"], "The blue kettle of order KS-20457 is on its way."),
    "14_budgets.py": (
        ["ok", "ok", "ok", "ok", "failed", "failed"],
        "ada: budget 'example 14' of 3 calls a day for each user is spent (3 calls used): support with gpt-4o",
    ),
    "15_own_signals.py": (["failed"], "invoke_agent support warning  polite: fail"),
    "16_store_and_forward.py": (["ok"], "the collector took 0 requests; the spans are in the journal\nwhen it was back"),
    "17_by_hand.py": (["ok"], "The handbook says: Refunds take 5 days."),
    "18_checkpoints.py": (
        ["ok", "failed"],
        "stopped: checkpoint 'may be refunded': small_enough refused the state: more than 100 EUR",
    ),
    "19_reviews.py": (["ok"], "refunded 42.0 EUR for KS-20457"),
    "20_receipts.py": (["suspect"], "Read back, /amount was different: 80 became 50.0."),
}
"""The traces that each leaves in the store, oldest first, and something of what it prints."""


def run(name: str, way: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    set_elsewhere = ("OPENAI_", "ANTHROPIC_", "LLMTRACE_", "OTEL_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(set_elsewhere)}
    environment = kept | {"LLMTRACE_STORE": str(folder / f"store{len(way)}")}
    command = [sys.executable, *way, str(FOLDER / name)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=60, check=False)


def test_every_example_is_here_and_in_the_list() -> None:
    """A numbered file is run by this suite, and examples/README.md names it."""
    names = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))
    assert names == list(EXAMPLES)
    assert sorted(re.findall(r"^\| \[(\d.*?\.py)\]", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)) == names


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    """Exit code 0, what its page says on stdout, its traces stored; on stderr what ``llmtrace run`` sums up, and what waits."""
    pytest.importorskip("anthropic" if "anthropic" in name else "openai")
    way = ["-m", "llmtrace", "run"] if "llmtrace run examples/" in (FOLDER / name).read_text(encoding="utf-8") else []
    ran = run(name, way, tmp_path)
    summary = rf"\nllmtrace  {name}: \d+ spans, .*\n.*\n +llmtrace why [0-9a-f]{{8}}\n" if way else ""
    assert ran.returncode == 0, ran.stderr
    stderr = re.sub(r"^llmtrace: \w+ waits for a review, \S+ s at most: .*\n", "", ran.stderr)
    assert re.fullmatch(summary, stderr)
    health, said = EXAMPLES[name]
    assert said in ran.stdout
    store = tmp_path / f"store{len(way)}"
    found = open_store(str(store)).traces(Query(limit=100)) if store.exists() else []
    assert [trace.health for trace in reversed(found)] == health


@pytest.mark.all
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_unchanged_under_llmtrace_run(name: str, tmp_path: Path) -> None:
    """It says what it says without, in a run of the whole program's, and has the summary after it."""
    said = [run(name, way, tmp_path) for way in ([], ["-m", "llmtrace", "run"])]
    assert [ran.returncode for ran in said] == [0, 0], said[1].stderr
    plain, summed_up = (re.sub(r"\d+", "", ran.stdout) for ran in said)
    assert summed_up == plain
    assert re.search(rf"^llmtrace  {name}: \d+ spans?, ", said[1].stderr, re.MULTILINE)
