"""Soak and fuzz: memory stays bounded, and the laws hold over many more examples. Run by scripts/test --long."""

from __future__ import annotations

import gc
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

import llmtrace
from llmtrace.codec import genai, otlp
from llmtrace.model import RawSpan, Span
from tests import strategies

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

MANY = settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))


def resident_mib() -> float:
    """Peak memory of this process so far."""
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_memory_is_bounded_in_a_long_run(tmp_path: Path) -> None:
    """One run of 100,000 spans with a growing number of different calls keeps less than 100 MiB, and all of it is stored."""

    @llmtrace.tool
    def look_up(order_id: str, page: int) -> dict[str, object]:
        return {"order_id": order_id, "page": page, "rows": ["x" * 200]}

    llmtrace.configure(store=str(tmp_path))
    with llmtrace.agent("warm"):
        for page in range(5_000):
            look_up(f"W-{page}", page)
    before = resident_mib()
    with llmtrace.agent("long"):
        for page in range(100_000):
            look_up(f"W-{page}", page)
    grown = resident_mib() - before
    llmtrace.shutdown()
    assert grown < 100


@MANY
@given(strategies.spans())
def test_decode_of_encode_is_the_span(span: Span) -> None:
    """decode(encode(span)) == span, over many more spans."""
    assert strategies.alike(genai.decode(genai.encode(span)), span)


@MANY
@given(strategies.raw_spans(text=strategies.utf8_texts()))
def test_the_wire_gives_back_what_it_was_given(raw: RawSpan) -> None:
    """OTLP JSON and protobuf give back the raw span."""
    assert strategies.alike(otlp.from_json(otlp.to_json_line([raw])), [raw])
    assert strategies.alike(otlp.from_protobuf(otlp.to_protobuf([raw])), [raw])
