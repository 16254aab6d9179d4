"""``review="when untrusted"`` on the forms that injected instructions take, and on good uses (``benchmarks/injections.py``)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.benchmark_program import benchmark

import llmtrace

INJECTIONS = benchmark("injections")


@pytest.fixture(autouse=True)
def _nobody_reviews(tmp_path: Path) -> None:
    llmtrace.configure(store=str(tmp_path / "store"), instrument=(), exporters=(), unattended="deny")


@pytest.mark.parametrize("case", INJECTIONS.ATTACKS, ids=lambda case: case.what)
def test_an_attack_is_held(case: object) -> None:
    assert INJECTIONS.is_held(case)


def test_good_uses_run() -> None:
    """A page that the user names may be held: who wrote it is not known. The reason names it."""
    held = [case.what for case in INJECTIONS.GOOD if INJECTIONS.is_held(case)]
    assert held == ["the page the user sent the agent to"]
