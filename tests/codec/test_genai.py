"""The codec of spans: nothing is lost, whoever wrote the span."""

from __future__ import annotations

from hypothesis import given, settings

from llmtrace.codec import genai
from llmtrace.model import Span
from tests import strategies as some


@given(some.spans())
@settings(deadline=None, max_examples=300)
def test_decode_gives_back_what_was_encoded(span: Span) -> None:
    """decode(encode(span)) == span, for every span that the model can express."""
    assert some.alike(genai.decode(genai.encode(span)), span)
