"""What a program sees of the anthropic client with llmtrace on is what it sees with it off."""

from __future__ import annotations

import pytest
from anthropic_scenarios import SCENARIOS

_UNRECORDED = ("ahelper_never_entered", "wrong_arguments_of_the_helper", "count_tokens")


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_program_sees_the_same(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records."""
    assert bool(SCENARIOS.check(name, caplog).spans) == (name not in _UNRECORDED), "and it was recorded"
