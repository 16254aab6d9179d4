"""Lists of messages that are read together share their messages and equal what is read without the cache."""

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
@example(["]"])
def test_read_together_or_alone(texts: list[str]) -> None:
    """Whatever was read before, a list is read as without the cache, and what is not a list gives None."""
    alone = [messages.read_messages(text, "user") for text in texts]
    with message_cache.together():
        assert [messages.read_messages(text, "user") for text in texts] == alone
        assert [messages.read_parts(text) for text in texts * 2] == [messages.read_parts(text) for text in texts] * 2


def test_calls_of_a_conversation_share_its_messages() -> None:
    """Within the block the message objects are the same. After the block there is no cache."""
    conversation = [{"role": "user", "content": str(number)} for number in range(50)]
    with message_cache.together():
        read = [messages.read_messages(json.dumps(conversation[:length]), "user") for length in range(1, 51)]
    assert len({id(message) for request in read for message in request or ()}) == 50
    again = messages.read_messages(json.dumps(conversation), "user")
    assert again == read[-1]
    assert again is not read[-1]
