"""Truncation: what comes back fits, is JSON, and says how much is gone."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrace.content.truncation import fit, fit_messages, fit_text, json_size, message_size
from llmtrace.model import Message, Text, ToolCall, ToolResult
from tests.strategies import json_values, messages, utf8_texts

long_texts = st.builds(lambda text, times: text * times, utf8_texts(), st.integers(1, 300))
values = json_values(long_texts)


@settings(max_examples=300, deadline=None)
@given(values, st.integers(64, 3000))
def test_what_comes_back_fits_and_is_json(value: Any, limit: int) -> None:
    """At any size of any value."""
    made, cut = fit(value, limit)
    assert json_size(made) <= limit
    assert (cut == 0) == (made is value)
    json.loads(json.dumps(made))


def test_a_text_keeps_head_and_tail() -> None:
    text = "".join(f"{number:05d} " for number in range(10_000))
    made, cut = fit_text(text, 1000)
    assert made.startswith("00000 00001 ")
    assert made.endswith(" 09999 ")
    assert f"…[cut {cut} characters]…" in made
    assert len(text) - cut + len(f"…[cut {cut} characters]…") == len(made)
    assert 900 < json_size(made) <= 1000


def test_text_that_needs_many_bytes() -> None:
    """Control characters take six bytes each in JSON, others four."""
    for text in ("\x00" * 5000, "🦜" * 5000, "a" * 5000 + "\x01" * 5000):
        made, _ = fit_text(text, 500)
        assert 300 < json_size(made) <= 500


def test_a_list_keeps_its_ends_and_short_items() -> None:
    made, cut = fit([{"id": number, "text": "x" * 30} for number in range(1000)], 2000)
    assert made[0]["id"] == 0
    assert made[-1]["id"] == 999
    marks = [item for item in made if isinstance(item, str)]
    assert len(marks) == 1
    gone = re.search(r"cut (\d+) items", marks[0])
    assert gone is not None
    assert len(made) - 1 + int(gone[1]) == 1000
    assert cut > 30_000


def test_one_long_member_does_not_cost_the_others_their_place() -> None:
    value = {"id": "W1", "log": "line\n" * 10_000, "state": "shipped"}
    made, _ = fit(value, 2000)
    assert made["id"] == "W1"
    assert made["state"] == "shipped"
    assert made["log"].startswith("line\n")


def test_an_object_of_very_many_members() -> None:
    made, cut = fit({f"key_{number}": number for number in range(100_000)}, 3000)
    assert made["key_0"] == 0
    assert made["key_99999"] == 99999
    assert "members" in made["…"]
    assert cut > 1_000_000


def test_a_name_longer_than_the_limit() -> None:
    made, _ = fit({"k" * 10_000: 1, "a": 2}, 500)
    assert made["a"] == 2
    assert json_size(made) <= 500


def test_deep_nesting() -> None:
    value: Any = "x" * 10_000
    for _ in range(80):
        value = {"a": [value]}
    made, _ = fit(value, 2000)
    assert json_size(made) <= 2000
    assert json.dumps(made).startswith('{"a": [{"a": [')


def test_a_text_that_is_json_stays_json() -> None:
    """A tool's result as the model was told it, or another writer's messages in one attribute."""
    text = json.dumps({"rows": [{"id": number, "note": 'say "hi" \\ ' * 3} for number in range(500)], "total": 500}, indent=1)
    made, cut = fit_text(text, 3000)
    assert 1500 < json_size(made) <= 3000
    assert json.loads(made)["total"] == 500
    assert cut == len(text) - len(made)
    broken, _ = fit_text(text[:-1], 3000)
    assert broken.startswith('{\n "rows": [')


# -- messages


def conversation(count: int, size: int) -> list[Message]:
    return [Message("system", (Text("be nice"),))] + [
        Message("user" if number % 2 else "assistant", (Text(f"{number} " + "x" * size),)) for number in range(count)
    ]


def sizes(messages: list[Message]) -> list[int]:
    return [message_size(message) for message in messages]


def test_a_text_with_half_a_surrogate_pair_is_cut_as_others_are() -> None:
    cut, size = fit('{"a": "' + "\ud83d" * 500 + '"}', 100)
    assert size > 0
    assert json_size(cut) <= 100


def test_the_system_prompt_and_the_newest_message_stay() -> None:
    """The oldest between them are emptied first; every message keeps its place and role."""
    before = conversation(40, 500)
    after, cut = fit_messages(before, sizes(before), 8000)
    assert sum(map(message_size, after)) <= 8000
    assert [message.role for message in after] == [message.role for message in before]
    assert after[0] is before[0]
    assert after[-1] is before[-1]
    emptied = [index for index, message in enumerate(after) if "[cut" in message.text()]
    assert emptied == list(range(1, 1 + len(emptied)))
    assert 5 < len(emptied) < 39
    assert cut > 500 * len(emptied)


def test_one_huge_message_is_cut_rather_than_all_others_dropped() -> None:
    before = conversation(20, 50)
    before[5] = Message("tool", (ToolResult({"rows": ["x" * 100] * 10_000}, "call_1"),), cache={"codec": "raw"})
    after, _ = fit_messages(before, sizes(before), 20_000)
    assert [new is old for new, old in zip(after, before, strict=True)].count(False) == 1
    assert isinstance(after[5].parts[0], ToolResult)
    assert after[5].parts[0].id == "call_1"
    assert after[5].cache == {}


def test_more_messages_than_can_be_told() -> None:
    """Even emptied they are too many: the ends stay, one message says how many went."""
    before = conversation(5000, 100)
    after, _ = fit_messages(before, sizes(before), 10_000)
    assert sum(map(message_size, after)) <= 10_000
    assert after[0] is before[0]
    assert after[-1] is before[-1]
    (mark,) = [message for message in after if "messages]" in message.text()]
    gone = re.search(r"cut (\d+) messages", mark.text())
    assert gone is not None
    assert len(after) - 1 + int(gone[1]) == len(before)


def test_a_newest_message_that_is_too_long_itself() -> None:
    before = [Message("user", (Text("a" * 50_000), ToolCall("f", {"a": "b" * 50_000}, "call_1")))]
    after, cut = fit_messages(before, sizes(before), 4000)
    assert message_size(after[0]) <= 4000
    assert isinstance(after[0].parts[1], ToolCall)
    assert after[0].parts[1].name == "f"
    assert after[0].parts[1].arguments["a"].startswith("bbb")
    assert cut > 90_000


@settings(max_examples=200, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=8), st.integers(2000, 4000), st.integers(1, 2000))
def test_any_conversation_fits(before: list[Message], limit: int, times: int) -> None:
    before = [*before, Message("user", (Text("end" * times),))]
    after, cut = fit_messages(before, sizes(before), limit)
    assert sum(map(message_size, after)) <= limit
    assert (cut == 0) == (after == tuple(before))


@pytest.mark.timeout(20)
def test_time_is_bounded() -> None:
    value = [{"a": [number] * 50} for number in range(20_000)]
    made, _ = fit(value, 1 << 16)
    assert json_size(made) <= 1 << 16
