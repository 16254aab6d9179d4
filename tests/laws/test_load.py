"""Which quality signals there are: the folder, installed packages, and what the user chose."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from law_cases import infer, run

import llmtrace.installed
from llmtrace.laws import GROUP, Stateless, defective_output, load
from llmtrace.model import Evaluation, Span

FOLDER = Path(llmtrace.laws.__file__).parent


def _shout(span: Span) -> Iterable[Evaluation]:
    return (Evaluation("shout", "info", "it is loud"),)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs things as quality signals of another package, by entry points to a module that is really imported."""

    def install(**things: Any) -> None:
        module = ModuleType("somebodys_signals")
        vars(module).update(things)
        monkeypatch.setitem(__import__("sys").modules, "somebodys_signals", module)
        points = [EntryPoint(name, f"somebodys_signals:{name}", GROUP) for name in things]
        points.append(EntryPoint("absent", "no_such_module:SIGNAL", GROUP))
        monkeypatch.setattr(llmtrace.installed, "entry_points", lambda group: points if group == GROUP else [])

    return install


def test_the_folder_is_the_registry() -> None:
    """Every module of the folder but four is a law under the module's name, and loads."""
    modules = sorted({file.stem for file in FOLDER.glob("[!_]*.py")} - {"base", "finding", "judging", "user_signals"})
    assert [signal.name for signal in load()] == modules


def test_names_choose() -> None:
    """Names keep these, none keeps nothing, a minus leaves one out of all or of those named."""
    everything = {signal.name for signal in load()}
    assert [signal.name for signal in load(("repeated_call", "defective_output"))] == ["defective_output", "repeated_call"]
    assert load(()) == ()
    assert {signal.name for signal in load(("-repeated_call",))} == everything - {"repeated_call"}
    assert [signal.name for signal in load(("defective_output", "repeated_call", "-repeated_call"))] == ["defective_output"]


def test_an_unknown_name_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A wrong name stops nothing; one line says what was probably meant."""
    with caplog.at_level(logging.WARNING, "llmtrace"):
        for _ in range(2):  # as where the program registers a signal of its own
            assert [signal.name for signal in load(("repeated_kall", "defective_output"))] == ["defective_output"]
    assert [record.getMessage() for record in caplog.records] == [
        "llmtrace: unknown quality signal 'repeated_kall' (did you mean 'repeated_call'?); it is ignored"
    ]


def test_installed_ones_join(installed: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A signal of another package comes after ours, as an object or as a plain function; a broken one is off and said so."""
    installed(shout=_shout, quiet=Stateless("quiet", lambda span: ()), kind=Stateless, number=5, defective_output=_shout)
    with caplog.at_level(logging.WARNING, "llmtrace"):
        signals = {signal.name: signal for signal in load()}
    assert list(signals)[-2:] == ["shout", "quiet"]
    assert [evaluation.name for evaluation in signals["shout"].step(None, run(infer("a"))[0])] == ["shout"]
    assert signals["defective_output"] is defective_output.SIGNAL
    off = [record.getMessage() for record in caplog.records]
    assert len(off) == 4
    assert all(any(name in line and "off" in line for line in off) for name in ("kind", "number", "defective_output", "absent"))
