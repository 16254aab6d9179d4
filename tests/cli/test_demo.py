"""``llmtrace demo`` and ``scripts/demo``: the chain is shown, the traces can be looked at, and any server will do."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.model import Inference
from llmtrace.store import Query, open_store
from llmtrace.store.local import default_folder

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)


def test_the_chain(llmtrace: Callable[..., Any]) -> None:
    """answer ← refund ← look-up ← argument /order_id that no message or result ever contained."""
    code, out, err = llmtrace("demo")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    chain = re.findall(r"^ {3}(?:  |← )(answer|refund|look_up|argument /order_id)\b(.*)", out, re.MULTILINE)
    assert [title for title, _ in chain] == ["answer", "refund", "look_up", "argument /order_id"]
    assert "KS-20431" in chain[-1][1]
    assert "in no message and no result before" in out
    assert "What would have prevented it" in out


def test_both_conversations_are_stored(llmtrace: Callable[..., Any]) -> None:
    """In the default store, streamed, with usage; the suspect one is the last, so that ``why`` needs no argument."""
    llmtrace("demo")
    folder = default_folder()
    assert folder is not None
    store = open_store(str(folder))
    bad, good = store.traces(Query())
    assert (bad.health, good.health) == ("suspect", "ok")
    assert "KS-20431" in (bad.answer or "")
    for summary in (good, bad):
        inferences = [span.operation for span in store.trace(summary.trace_id).spans if isinstance(span.operation, Inference)]
        assert len(inferences) == 3
        assert all(one.stream and one.usage is not None and one.cost_usd for one in inferences)
    store.close()
    assert "look_up was called with a made-up /order_id" in llmtrace("why").out
    assert "No suspect" in llmtrace("why", good.trace_id).out
    assert (llmtrace("check").code, llmtrace("check", good.trace_id).code) == (1, 0)


def test_json(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Nothing but one JSON document on stdout."""
    shown = json.loads(llmtrace("demo", "--json", "--store", str(tmp_path / "here")).out)
    assert shown["store"] == str(tmp_path / "here")
    assert len(shown["conversations"]) == 2
    assert shown["diagnosis"]["suspects"][0]["pointer"] == "/order_id"


def test_any_server(llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OPENAI_BASE_URL and --model run the same agent against a server of the user's; a bad end is a clear error."""
    asked: list[Any] = []

    def script(messages: Any) -> dict[str, Any]:
        asked.append(messages)
        return {"role": "assistant", "content": "Which order do you mean?"}

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ModelServer(script, pace=0) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert "--model is missing" in llmtrace("demo").err
        assert "OPENAI_API_KEY is not set" in llmtrace("demo", "--model", "mine").err
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        code, out, _ = llmtrace("demo", "--model", "mine", "--store", str(tmp_path / "store"))
    assert (code, len(asked)) == (0, 2)
    assert out.count("Which order do you mean?") >= 2
    assert "This is what your model did:" in out
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    code, _, err = llmtrace("demo", "--model", "mine", "--store", str(tmp_path / "store"))
    assert code == 2
    assert "did not answer" in err


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_proxies_are_not_asked(llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """A proxy in the environment does not come between the agent and the server on this machine."""
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert llmtrace("demo").code == 0


def test_without_a_home_and_without_a_terminal(tmp_path: Path) -> None:
    """Where the default store cannot be written it goes to a temporary folder, which the next commands then name."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    environment |= {"HOME": "/dev/null", "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(
        [sys.executable, "-m", "llmtrace", "demo"], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert ran.stderr == ""
    assert f"python -m llmtrace why --store {tmp_path}/llmtrace-demo-" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_without_openai(llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the client there is one line that says what to install."""
    monkeypatch.setitem(sys.modules, "openai", None)
    code, out, err = llmtrace("demo")
    assert (code, out) == (2, "")
    assert "pip install openai" in err


@pytest.mark.parametrize("run_by", [[], ["sh"], [sys.executable]], ids=["itself", "a shell", "Python"])
def test_the_script_runs_however_it_is_started(run_by: list[str], tmp_path: Path) -> None:
    """It finds a Python by itself, and is one program for a shell and for Python; its arguments go on."""
    shutil.copy(ROOT / "scripts" / "demo", tmp_path / "demo")
    (tmp_path / "demo.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    ran = subprocess.run([*run_by, str(tmp_path / "demo"), "--model", "m 1"], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("__main__ ['--model', 'm 1']\n", "")
