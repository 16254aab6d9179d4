"""Attributes that went through a table of texts."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, assume, given, settings

from llmtrace.codec import genai
from llmtrace.codec.retype import restore_types
from llmtrace.model import Event, Span, replace
from tests.store.remote.backends import as_texts
from tests.strategies import alike, spans


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(spans())
def test_what_the_conventions_name_has_its_type_again(one: Span) -> None:
    """Operation and findings come back equal; only a program's own attributes stay text. (Of infinity JSON knows nothing.)"""
    one = replace(one, attributes={}, events=(), resource={})
    raw = genai.encode(one)
    told = [value for held in (raw, *raw.events) for value in held.attributes.values()]
    assume(all(math.isfinite(value) for value in told if isinstance(value, float)))
    events = tuple(Event(event.name, event.time, restore_types(as_texts(event.attributes))) for event in raw.events)
    read = genai.decode(replace(raw, attributes=restore_types(as_texts(raw.attributes)), events=events))
    assert alike(read.operation, one.operation)
    assert alike(read.evaluations, one.evaluations)
    assert alike(read.violations, one.violations)
    assert (read.run_id, read.sequence, read.failure) == (one.run_id, one.sequence, one.failure)


def test_texts_that_look_like_numbers_stay_texts() -> None:
    """Ids, versions, digests, models, and whatever a program named itself."""
    held: dict[str, Any] = {
        "gen_ai.agent.version": "1.0",
        "gen_ai.response.id": "123",
        "gen_ai.request.model": "4",
        "llmtrace.fingerprint.system": "0123456789012345",
        "llmtrace.context.tier": "3",
        "order": "42",
        "gen_ai.tool.call.arguments": "5",
    }
    assert restore_types(held) == held
    assert restore_types({"gen_ai.usage.input_tokens": "12", "gen_ai.request.temperature": "0.5", "server.port": "443"}) == {
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.request.temperature": 0.5,
        "server.port": 443,
    }
    assert restore_types({"llm.token_count.prompt": "7", "gen_ai.response.finish_reasons": '["stop"]'}) == {
        "llm.token_count.prompt": 7,
        "gen_ai.response.finish_reasons": ["stop"],
    }
