"""What a program sees of the Responses API and of embeddings with llmtrace on is what it sees with it off."""

from __future__ import annotations

from functools import partial

import pytest
from openai_responses_scenarios import NAMES
from openai_scenarios import observe
from transparency import same_on_and_off


@pytest.mark.parametrize("name", NAMES)
def test_the_program_sees_the_same(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values, types, attributes, exceptions and their causes, streams, requests, warnings and log records."""
    assert same_on_and_off("openai", partial(observe, name), caplog).spans, "and it was recorded"
