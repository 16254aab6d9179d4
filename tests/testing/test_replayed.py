"""From a failing trace to a test that fails, a fix, and the test that passes: the whole way, as a user goes it.

In the first tier, `tests/test_docs.py` goes the same way, since the tutorial does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tutorial import TASK, record

from llmtrace.cli import main
from llmtrace.store import open_store

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]  # programs of their own, one after the other


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    record(tmp_path, monkeypatch)
    return tmp_path


LIVE = ("--tool", "look_up=live", "--tool", "refund=live")


def mend(folder: Path) -> None:
    """The tutorial's fix: the tool knows whose orders it may show."""
    text = (folder / "agent.py").read_text(encoding="utf-8")
    old = "    return ORDERS[order_id]\n"
    assert old in text
    new = "    order = ORDERS[order_id]\n    return order if order['customer'] == 'Ada Reyes' else {'error': 'no such order'}\n"
    (folder / "agent.py").write_text(text.replace(old, new), encoding="utf-8")


def pytest_in(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_a_failure_becomes_a_test(folder: Path) -> None:
    assert main(["to-test", "last", "-o", "test_refund.py", "--tool", "look_up=live", "--", "python", "agent.py", TASK]) == 0
    test = (folder / "test_refund.py").read_text(encoding="utf-8")
    assert 'assert "ungrounded_argument" not in run.findings  # look_up was called with a made-up /order_id' in test
    assert '.run("python", "agent.py", "Ada Reyes here.' in test
    printed = pytest_in(folder)
    assert "1 failed" in printed
    assert "The identifier KS-20431 is in no message" in printed  # the report says why
    mend(folder)
    printed = pytest_in(folder)
    assert "the run differs from test_refund.jsonl" in printed
    assert "pytest --llmtrace-record" in printed
    assert "1 passed" in pytest_in(folder, "--llmtrace-record", "--llmtrace-allow", "refund")
    assert "1 passed" in pytest_in(folder)  # offline, from the new recording


def test_a_function_is_called_with_the_recorded_task(folder: Path) -> None:
    assert main(["to-test", "last", "-o", "test_refund.py", "--call", "agent:support"]) == 0
    test = (folder / "test_refund.py").read_text(encoding="utf-8")
    assert "from agent import support\n" in test
    assert f".call(support, {json.dumps(TASK)})" in test
    client = "import agent\nagent.client = agent.OpenAI(base_url='http://127.0.0.1:9/v1', api_key='none')\n"
    (folder / "conftest.py").write_text(client, encoding="utf-8")
    printed = pytest_in(folder)
    assert "1 failed" in printed
    assert "assert 'ungrounded_argument' not in ['ungrounded_argument']" in printed.replace('"', "'")
    changed = (folder / "agent.py").read_text(encoding="utf-8").replace('"Find an order by its number."', '"Find an order."')
    (folder / "agent.py").write_text(changed, encoding="utf-8")
    printed = pytest_in(folder)
    assert "the run differs from test_refund.jsonl" in printed
    assert "llmtrace why" not in printed  # where a replay stopped is not what went wrong with the agent


def test_a_good_run_pins_its_tools(folder: Path) -> None:
    task = "The kettle of order KS-20418 leaks. Please give me my money back."
    subprocess.run([sys.executable, "agent.py", task], check=True, capture_output=True)
    words = ["--pin", "answers", "--pin", "outcome", "--", "python", "agent.py", task]
    assert main(["to-test", "last", "-o", "test_good.py", *words]) == 0
    test = (folder / "test_good.py").read_text(encoding="utf-8")
    assert "assert run.findings == []" in test
    assert 'assert run.tools == ["look_up", "refund"]' in test
    assert 'assert run.answer == "Done: I refunded 35.0 EUR for order KS-20418."' in test
    assert 'assert run.health == "ok"' in test
    assert "1 passed" in pytest_in(folder, "test_good.py")
    broken = (folder / "agent.py").read_text(encoding="utf-8").replace('"Find an order by its number."', '"Find an order."')
    (folder / "agent.py").write_text(broken, encoding="utf-8")
    printed = pytest_in(folder, "test_good.py")
    assert "1 passed, 1 warning" in printed
    assert "although the prompt has changed" in " ".join(printed.split())
    assert "{+order." in printed
    broken = broken.replace('return {"refunded": amount', 'return {"paid": amount')
    broken = broken.replace("def refund(order_id: str, amount: float)", "def refund(order_id: str, amount: str)")
    (folder / "agent.py").write_text(broken, encoding="utf-8")
    assert "1 failed" in pytest_in(folder, "test_good.py")


def test_what_cannot_become_a_test_says_why(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in (
        (["to-test", "last"], "say how the test runs the agent"),
        (["to-test", "last", "--call", "agent"], "expected MODULE:FUNCTION"),
        (["to-test", "last", "-o", "agent.py", "--", "python", "agent.py"], "agent.py is there already"),
    ):
        assert main(words) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    trace = open_store(str(folder / "traces")).trace("last")
    main(["replay", "last", "--live-after", trace.spans[1].span_id, *LIVE, "--", "python", "agent.py", TASK])
    replays = open_store(str(folder / "traces" / "replays"))
    replayed = replays.trace("last").trace_id
    capsys.readouterr()
    assert main(["to-test", replayed, "-o", "test_live.py", "--", "python", "agent.py", TASK]) == 2
    assert "was made for real in a replay" in " ".join(capsys.readouterr().err.split())
