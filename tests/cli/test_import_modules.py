"""``--import MODULE``: the quality signals that a module registers judge stored traces, and `doctor` lists them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.laws import user_signals

MODULE = """
import llmtrace

@llmtrace.signal
def of_mine(span):
    "It is there"
    return True

@llmtrace.signal(background=True)
def my_judge(span):
    return True
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "my_signals.py").write_text(MODULE)
    (tmp_path / "my_broken_signals.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "my_signals"
    user_signals.registered.clear()
    sys.modules.pop("my_signals", None)


def test_check_judges_by_them(module: str, llmtrace: Callable[..., Any], store: str) -> None:
    """With the module they judge, without it they do not; one in the background is not asked again."""
    assert "of_mine" not in llmtrace("check", "last", "--store", store).out
    said = llmtrace("check", "last", "--store", store, "--import", module).out
    assert "of_mine: It is there" in said
    assert "my_judge" not in said


def test_doctor_lists_them(module: str, llmtrace: Callable[..., Any], store: str) -> None:
    """With where they are written."""
    said = " ".join(llmtrace("doctor", "--store", store, "--import", module).out.split())
    assert "of_mine is registered by my_signals:of_mine" in said
    assert "my_judge is registered by my_signals:my_judge, in the background" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [("my_broken_signals", "ZeroDivisionError: division by zero"), ("no_such_module", "No module named 'no_such_module'")],
)
def test_one_that_cannot_be_imported(name: str, said: str, module: str, llmtrace: Callable[..., Any], store: str) -> None:
    """Bad input, in one clear error."""
    code, out, err = llmtrace("check", "--store", store, "--import", name)
    assert (code, out) == (2, "")
    assert f"cannot import {name}: " in err
    assert said in err
