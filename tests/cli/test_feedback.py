"""``llmtrace feedback``: said once, shown by ls and show."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def test_it_is_shown(llmtrace: Callable[..., Any], store: str) -> None:
    """What was said stands in `show` with its comment, and in `ls` as a finding."""
    ran = llmtrace("feedback", "last", "--store", store, "--score", "0", "--comment", "wrong order", "--user", "ada")
    assert ran.code == 0
    assert "feedback [bad]: a person found it bad" in ran.out
    shown = llmtrace("show", "last", "--store", store).out
    assert "feedback [bad]" in shown
    assert "wrong order" in shown
    assert "feedback" in llmtrace("ls", "--store", store).out


def test_json(llmtrace: Callable[..., Any], store: str) -> None:
    """Ids, and the evaluation as it is kept."""
    said = json.loads(llmtrace("feedback", "--store", store, "--label", "good", "--source", "program", "--json").out)
    assert (said["evaluation"]["label"], said["evaluation"]["source"]) == ("good", "program")
    assert len(said["trace_id"]) == 32
