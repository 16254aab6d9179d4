"""docs/how_to/adding_a_provider.md is true: its module, installed by a package of its own, traces and judges its SDK."""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from spans_of import failure_of

import llmtrace
from llmtrace import instrumentation, log_once
from llmtrace.instrumentation import Library, _instrumentors
from llmtrace.model import Inference, Message, Text
from llmtrace.testing import capture

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how_to/adding_a_provider.md"

SDK = """
from types import SimpleNamespace

class Client:
    def ask(self, model, prompt, tools=None, headers=None):
        self.headers = headers
        if prompt == "fail":
            raise ConnectionError("no")
        call = SimpleNamespace(name="look_up", arguments='{"order_id": 7}', id="1")
        return SimpleNamespace(text="", calls=[call], tokens_in=5, tokens_out=2)
"""
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}}}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, with the SDK in it."""
    (tmp_path / "acme.py").write_text(SDK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(log_once, "_logged", {})
    yield tmp_path
    instrumentation.disable()
    _instrumentors.library_of.cache_clear()
    for name in ("acme", "llmtrace_acme", "llmtrace_broken"):
        sys.modules.pop(name, None)
        _instrumentors._switches.pop(name.removeprefix("llmtrace_"), None)


def install(site: Path, module: str, code: str) -> None:
    """Install a package with one module, which is an instrumentor."""
    (site / f"{module}.py").write_text(code)
    about = site / f"{module}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[llmtrace.instrumentors]\n{module.removeprefix('llmtrace_')} = {module}\n")


def page_sample() -> str:
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "PATCHES" in code]
    return str(code)


def by_name(client: Any, prompt: str) -> Any:
    return client.ask(model="a-1", prompt=prompt, tools=[TOOL])


def by_position(client: Any, prompt: str) -> Any:
    return client.ask("a-1", prompt, [TOOL])


@pytest.mark.parametrize("ask", [by_name, by_position])
def test_the_provider_of_the_page(ask: Any, site: Path) -> None:
    """By keyword and by position alike; the module is loaded when its library is, and not before."""
    install(site, "llmtrace_acme", page_sample())
    assert "acme" in instrumentation.available()
    assert instrumentation.library_of("acme") == Library("acme", "acme-sdk", "1.0", "2")
    with capture(instrument=["acme"]) as captured:
        assert "llmtrace_acme" not in sys.modules
        client = importlib.import_module("acme").Client()
        ask(client, "Where is order 7?")
        with pytest.raises(ConnectionError, match="no"):
            ask(client, "fail")
    good, bad = captured.spans
    assert isinstance(good.operation, Inference)
    assert (good.name, good.operation.provider, good.operation.tools[0].name) == ("chat a-1", "acme", "look_up")
    assert good.operation.input == (Message("user", (Text("Where is order 7?"),)),)
    assert [(violation.pointer, violation.code) for violation in good.violations] == [("/order_id", "wrong_type")]
    assert "traceparent" in client.headers
    assert failure_of(bad).type == "connection"


def test_wrong_arguments_are_refused_by_the_library(site: Path) -> None:
    """One that is given twice, or too many: what the program sees is the library's own error."""
    install(site, "llmtrace_acme", page_sample())
    client = importlib.import_module("acme").Client()
    with capture(instrument=["acme"]):
        with pytest.raises(TypeError, match="multiple values for argument 'model'"):
            client.ask("a-1", "Hello", model="a-2")
        with pytest.raises(TypeError, match="takes from 3 to 5 positional arguments but 6 were given"):
            client.ask("a-1", "Hello", None, None, None)


def test_one_client_of_the_page(site: Path) -> None:
    """`llmtrace.instrument` takes clients of another package's provider, too."""
    install(site, "llmtrace_acme", page_sample())
    acme = importlib.import_module("acme")
    with capture(instrument=[]) as captured:
        client = llmtrace.instrument(acme.Client())
        for asked_client in (client, acme.Client()):
            asked_client.ask("a-1", "Where is order 7?")
    assert len(captured.spans) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ('LIBRARY, DISTRIBUTION = "acme", ""\nraise RuntimeError("broken")', "RuntimeError: broken"),
        ('LIBRARY, DISTRIBUTION = "acme", ""', "KeyError: 'PATCHES'"),
        ('LIBRARY, DISTRIBUTION = "acme", ""\nPATCHES = [1]', "TypeError: PATCHES holds something that is not a Patch"),
        (None, "ModuleNotFoundError: No module named 'llmtrace_broken'"),
    ],
)
def test_a_broken_package_breaks_only_itself(
    code: str | None, reason: str, site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line in the log says why; the others are on."""
    install(site, "llmtrace_acme", page_sample())
    install(site, "llmtrace_broken", code or "")
    if code is None:
        (site / "llmtrace_broken.py").unlink()
    client = importlib.import_module("acme").Client()
    with capture(instrument=["broken", "acme"]) as captured:
        client.ask("a-1", "Where is order 7?")
    assert len(captured.spans) == 1
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [f"llmtrace: llmtrace.instrumentors broken (llmtrace_broken) cannot be loaded and is off: {reason}"]
    caplog.clear()
