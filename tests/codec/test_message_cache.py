"""Lists that are read together: shared where they begin alike, and equal to what each is alone."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from llmtrace.codec import message_cache, messages

ITEMS = st.sampled_from(
    ['{"role":"user","content":"a"}', ' {"role":"tool","parts":[]}', '"],["', "[1]", "1", "12", " ", "", "{", '{"content":"b"}']
)
TEXTS = st.lists(ITEMS, max_size=4).map(lambda items: f"[{','.join(items)}]")


@given(st.lists(TEXTS | TEXTS.map(lambda text: f"{text},[]") | ITEMS, max_size=8))
@example(["[1]", "[12]", "[1,]", "[1,2]", "[1],[2]"])
def test_read_together_or_alone(texts: list[str]) -> None:
    """Whatever stood before, a list reads as it does by itself; what is no list stays none."""
    alone = [messages.read_messages(text, "user") for text in texts]
    with message_cache.together():
        assert [messages.read_messages(text, "user") for text in texts] == alone
        assert [messages.read_parts(text) for text in texts * 2] == [messages.read_parts(text) for text in texts] * 2


def test_a_conversation_is_held_once() -> None:
    """Calls of one conversation hold the same messages; nothing is remembered after the block."""
    told = [{"role": "user", "content": str(number)} for number in range(50)]
    with message_cache.together():
        read = [messages.read_messages(json.dumps(told[:length]), "user") for length in range(1, 51)]
    assert len({id(message) for one in read for message in one or ()}) == 50
    again = messages.read_messages(json.dumps(told), "user")
    assert again == read[-1]
    assert again is not read[-1]
