"""What a program sees of the Responses API and of embeddings with llmtrace on is what it sees with it off."""

from __future__ import annotations

import gc
import warnings

import pytest
from openai_responses_scenarios import NAMES
from openai_scenarios import observe

from llmtrace import instrumentation
from llmtrace.testing import capture


@pytest.mark.parametrize("name", NAMES)
def test_the_program_sees_the_same(name: str) -> None:
    """Values, types, attributes, exceptions and their causes, streams, requests and warnings."""
    gc.collect()  # what other tests left behind warns for itself
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        off = observe(name)
        gc.collect()
        before = [str(one.message) for one in warned]
        warned.clear()
        with capture(instrument=("openai",)) as captured:
            on = observe(name)
            gc.collect()
            instrumentation.end_forgotten()
        after = [str(one.message) for one in warned]
    assert on[0] == off[0]
    assert on[1] == off[1]
    assert after == before
    assert captured.spans, "and it was recorded"
