"""A loss of messages counts if a call that they held comes again after it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.diagnosis.stories import Story, tool

from llmtrace.diagnosis import findings_of
from llmtrace.reading.turns import FEWEST_LOST


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), st.data())
def test_a_loss_between_a_call_and_its_repetition_is_likely(keys: list[str], data: st.DataObject) -> None:
    """Wherever the loss is. The request after it still holds the last call and its result."""
    place = data.draw(st.integers(1, len(keys)))
    story = Story(tool("look_up", "order_id")).user("What is in these orders?")
    for number, key in enumerate(keys):
        if number == place:
            story.messages = story.messages[-2:]
        story.call("look_up", f"{key} {number}", order_id=key)
    if place == len(keys):
        story.messages = story.messages[-2:]
    found = [finding.label for finding in findings_of(story.answer("Done.").trace()) if finding.law == "lost_context"]
    seen = keys[:place]  # what was repeated while it could be seen is not repeated for want of it
    lost, later = {key for key in keys[: place - 1] if seen.count(key) == 1}, set(keys[place:])
    if 1 + 2 * (place - 1) < FEWEST_LOST:
        assert found == []
    else:
        assert found == ["looked_up_again" if lost & later else "messages"]
