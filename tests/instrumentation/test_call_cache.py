"""The memo saves conversions and never hides a change."""

from __future__ import annotations

import copy
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace.instrumentation import _cache
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._openai_messages import read_message

_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
_TEXT = st.text(max_size=3) | st.sampled_from(["x" * 60, "x" * 59 + "y", "x" * 30 + "y" + "x" * 29])
_LEAF = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0]) | _TEXT
_VALUE = st.recursive(
    _LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3), max_leaves=6
)
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": _VALUE}, optional={"extra": _VALUE}
)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "_messages", {})
    monkeypatch.setattr(_cache, "_characters", 0)


def read_cached(raw: Any, read: Any) -> Any:
    """One message by way of the memo."""
    return read_messages_cached((raw,), read)[0]


def _typed(value: Any) -> Any:
    """A value with the types of its leaves, since 1 == True == 1.0."""
    if isinstance(value, dict):
        return {key: _typed(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_typed(member) for member in value]
    return type(value), value


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.lists(_MESSAGE, min_size=1, max_size=6))
def test_equal_messages_and_only_they_are_one(messages: list[Any]) -> None:
    """What the memo gives is what reading anew gives, for any messages in any order, copies and edits among them."""
    for message in messages + [copy.deepcopy(message) for message in messages]:
        assert _typed(read_cached(message, copy.deepcopy)) == _typed(message)


def test_a_copy_is_known() -> None:
    """Frameworks build their dicts anew at every turn: an equal one is the same message."""
    message = {"role": "assistant", "content": "x" * 500, "tool_calls": [_CALL]}
    assert read_cached(message, read_message) is read_cached(copy.deepcopy(message), read_message)


def test_an_edit_inside_is_seen() -> None:
    """Arguments edited in place, deep in an old message."""
    message: dict[str, Any] = {"role": "assistant", "tool_calls": [copy.deepcopy(_CALL)]}
    assert read_cached(message, read_message).tool_calls()[0].arguments == {"a": 1}
    message["tool_calls"][0]["function"]["arguments"] = '{"a": 2}'
    assert read_cached(message, read_message).tool_calls()[0].arguments == {"a": 2}


def test_models_are_known_too() -> None:
    """The SDK's own objects, their unknown fields included."""

    class Said(pydantic.BaseModel, extra="allow"):
        role: str
        content: str

    call = Said(role="assistant", content="Hi", reasoning_content="a")  # type: ignore[call-arg]
    first = read_cached(call, read_message)
    assert read_cached(call, read_message) is first
    call.reasoning_content = "b"  # type: ignore[attr-defined]
    assert read_cached(call, read_message) != first


def test_what_cannot_be_compared_is_read_anew() -> None:
    """An object of unknown kind, a cycle, a huge message: right, if not fast."""
    cycle: dict[str, Any] = {"role": "user"}
    cycle["content"] = [cycle]
    huge = {"role": "user", "content": [{"type": "text", "text": "x"}] * 1000}
    for message in ({"role": "user", "content": object()}, cycle, huge):
        read_cached(message, read_message)
    assert _cache._messages == {}


def test_the_memo_stays_bounded() -> None:
    """A run of very many messages does not keep them all."""
    for number in range(2 * _cache.MOST_MESSAGES):
        read_cached({"role": "user", "content": str(number)}, read_message)
    assert len(_cache._messages) <= 2 * _cache.MOST_MESSAGES


def test_the_memo_holds_little_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long messages make room for each other."""
    monkeypatch.setattr(_cache, "MOST_CHARACTERS", 10_000)
    for number in range(50):
        read_cached({"role": "user", "content": f"{number:04} " * 300}, read_message)
    texts = [leaf for shape in _cache._messages for leaf in shape if isinstance(leaf, str)]
    assert sum(map(len, set(texts))) <= 10_000


def test_tools_are_known_by_their_bytes() -> None:
    """The same definitions are converted once; a changed list is seen; what is no JSON is converted each time."""
    read: list[Any] = []

    def convert(raw: Any) -> tuple[Any, ...]:
        read.append(copy.deepcopy(raw))
        return (len(read),)

    tools: list[Any] = [{"name": "only in this test", "parameters": {}}]
    assert read_tools_cached(tools, convert) is read_tools_cached(copy.deepcopy(tools), convert)
    tools[0]["parameters"]["type"] = "object"
    read_tools_cached(tools, convert)
    read_tools_cached([object()], lambda raw: ())
    assert len(read) == 2
