"""A loss of messages counts if a call before it comes again after it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llmtrace.diagnosis.checks.lost_context import lost_messages
from llmtrace.reading.lost_messages import Loss


@given(st.lists(st.sampled_from("abcd"), max_size=12))
def test_a_loss_between_a_call_and_its_repetition_is_likely(keys: list[str]) -> None:
    """Wherever the loss is."""
    nodes = [
        SimpleNamespace(call=SimpleNamespace(is_polling=False, key=key), turn=0, position=place, uses=[])
        for place, key in enumerate(keys)
    ]
    flow: Any = SimpleNamespace(calls=nodes, answer_spans={str(node.position): [node] for node in nodes})
    losses = [Loss(str(place), 3) for place in range(len(keys))]
    flow.analysis = SimpleNamespace(lost_messages=SimpleNamespace(losses=losses))
    found = [finding.confidence for finding in lost_messages(flow)]
    assert found == ["likely" if set(keys[:place]) & set(keys[place:]) else "possible" for place in range(len(keys))]
