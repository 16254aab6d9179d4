"""docs/adding_a_provider.md is true: the file that it shows, put in its place, traces and judges the calls of its SDK."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

from llmtrace import instrumentation
from llmtrace.model import Inference
from llmtrace.testing import capture

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding_a_provider.md"

SDK = """
from types import SimpleNamespace

class Client:
    def ask(self, *, model, prompt, tools=None, headers=None):
        self.headers = headers
        if prompt == "fail":
            raise ConnectionError("no")
        call = SimpleNamespace(name="look_up", arguments='{"order_id": 7}', id="1")
        return SimpleNamespace(text="", calls=[call], tokens_in=5, tokens_out=2)
"""
TOOL = {"name": "look_up", "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}}}


def test_the_provider_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [found for found in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL) if "PATCHES" in found]
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "acme.py").write_text(SDK)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "acme.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path / "sdk"))
    monkeypatch.setattr(instrumentation, "__path__", [*instrumentation.__path__, str(tmp_path / "ours")])
    assert "acme" in instrumentation.available()
    with capture(instrument=["acme"]) as captured:
        client = importlib.import_module("acme").Client()
        client.ask(model="a-1", prompt="Where is order 7?", tools=[TOOL])
        with pytest.raises(ConnectionError, match="no"):
            client.ask(model="a-1", prompt="fail")
    good, bad = captured.spans
    assert isinstance(good.operation, Inference)
    assert (good.name, good.operation.provider, good.operation.tools[0].name) == ("chat a-1", "acme", "look_up")
    assert [(found.pointer, found.code) for found in good.violations] == [("/order_id", "wrong_type")]
    assert "traceparent" in client.headers
    assert bad.failure is not None
    assert bad.failure.type == "connection"
    for module in ("acme", f"{instrumentation.__name__}.acme"):
        sys.modules.pop(module, None)
