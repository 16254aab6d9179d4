"""Which arguments count as the same in all but their form."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmtrace.model import JsonValue
from llmtrace.signals._calls import _gist, alike

LEAVES = st.sampled_from([None, True, False, 0, 1, 1.0, "", "a", "A", "b a", "a, b", " ", "!"])
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3), max_leaves=8
)


@given(VALUES, VALUES)
def test_a_look_at_the_members_says_the_same_as_their_gist(one: JsonValue, other: JsonValue) -> None:
    """It only says so sooner."""
    assert alike(one, other) is (_gist(one) == _gist(other))
