"""Attributes that a database stored as text get their types back."""

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
def test_attributes_of_the_conventions_get_their_types_back(span: Span) -> None:
    """Operation and findings are restored. (Infinity cannot be, since it is not JSON.)"""
    span = replace(span, attributes={}, events=(), resource={})
    raw = genai.encode(span)
    values = [value for item in (raw, *raw.events) for value in item.attributes.values()]
    assume(all(math.isfinite(value) for value in values if isinstance(value, float)))
    events = tuple(Event(event.name, event.time, restore_types(as_texts(event.attributes))) for event in raw.events)
    read = genai.decode(replace(raw, attributes=restore_types(as_texts(raw.attributes)), events=events))
    assert alike(read.operation, span.operation)
    assert alike(read.evaluations, span.evaluations)
    assert alike(read.violations, span.violations)
    assert (read.run_id, read.sequence, read.failure) == (span.run_id, span.sequence, span.failure)


def test_texts_that_look_like_numbers_stay_texts() -> None:
    """Such as ids, versions, digests, models, and a program's own attributes."""
    unchanged: dict[str, Any] = {
        "gen_ai.agent.version": "1.0",
        "gen_ai.response.id": "123",
        "gen_ai.request.model": "4",
        "llmtrace.fingerprint.system": "0123456789012345",
        "llmtrace.context.tier": "3",
        "order": "42",
        "gen_ai.tool.call.arguments": "5",
    }
    assert restore_types(unchanged) == unchanged
    assert restore_types({"gen_ai.usage.input_tokens": "12", "gen_ai.request.temperature": "0.5", "server.port": "443"}) == {
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.request.temperature": 0.5,
        "server.port": 443,
    }
    assert restore_types({"llm.token_count.prompt": "7", "gen_ai.response.finish_reasons": '["stop"]'}) == {
        "llm.token_count.prompt": 7,
        "gen_ai.response.finish_reasons": ["stop"],
    }
