"""Two traces beside each other."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st

from llmtrace.diagnosis.difference import compare
from llmtrace.model import Custom, Span, ToolExecution, Trace, replace

NAMES = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=12)


def trace(steps: list[tuple[str, int]], seed: str = "ab") -> Trace:
    operations = [ToolExecution(name, {"n": number}, number, True) for name, number in steps]
    return Trace([Span(seed * 16, f"{at:016x}", "x", at, at + 1, operation=one) for at, one in enumerate(operations)])


@given(NAMES, NAMES)
def test_every_step_is_in_one_pair(ours: list[tuple[str, int]], theirs: list[tuple[str, int]]) -> None:
    """Each step of both once, in order; the same where all is the same, changed where only what went in or out is not."""
    left, right = trace(ours), trace(theirs, "cd")
    found = compare(left, right)
    assert [pair.left for pair in found.pairs if pair.left is not None] == [span.span_id for span in left.spans]
    assert [pair.right for pair in found.pairs if pair.right is not None] == [span.span_id for span in right.spans]
    for pair in found.pairs:
        one, other = ours[int(pair.left or "0", 16)], theirs[int(pair.right or "0", 16)]
        if pair.what == "same":
            assert one == other
        elif pair.what == "changed":
            assert one[0] == other[0]
            assert one != other
    assert (found.first is None) == (ours == theirs)


@given(NAMES, st.data())
def test_an_inserted_step_is_one_difference(steps: list[tuple[str, int]], data: st.DataObject) -> None:
    """Also in a loop, whose steps repeat: what comes after it is aligned again."""
    at = data.draw(st.integers(0, len(steps)))
    longer = [*steps[:at], ("new", 9), *steps[at:]]
    for ours, theirs, what in ((steps, longer, "right"), (longer, steps, "left")):
        found = compare(trace(ours), trace(theirs, "cd"))
        assert [pair.what for pair in found.pairs if pair.what != "same"] == [what]
        assert found.first == at


def test_two_thousand_steps_are_soon_aligned() -> None:
    """Of which none, or every second, is the same."""
    begin = time.perf_counter()
    loop = [("a", number % 2) for number in range(1900)]
    compare(trace(loop), trace([("b", number) for number in range(1900)]))
    compare(trace(loop), trace([("a", number % 3) for number in range(1900)]))
    assert time.perf_counter() - begin < 20


def test_ids_and_times_do_not_count() -> None:
    """The same run a day later is the same."""
    before = trace([("a", 1), ("b", 2)])
    later = Trace(
        [replace(span, trace_id="ef" * 16, start=span.start + 10**14, end=(span.end or 0) + 10**14) for span in before.spans]
    )
    assert compare(before, later).first is None


def test_where_they_part() -> None:
    """One argument is different: this step is the first that parts, and what follows is aligned again."""
    found = compare(trace([("a", 1), ("b", 1), ("c", 1)]), trace([("a", 1), ("b", 2), ("a", 0), ("c", 1)]))
    assert [pair.what for pair in found.pairs] == ["same", "changed", "right", "same"]
    assert found.first == 1


def test_long_traces_are_bounded() -> None:
    """What was not compared is counted."""
    dice = random.Random(1)
    spans = [Span("ab" * 16, f"{at:016x}", str(dice.random()), at, at + 1, operation=Custom()) for at in range(2100)]
    assert compare(Trace(spans), Trace(spans[:5])).left_out == 100
