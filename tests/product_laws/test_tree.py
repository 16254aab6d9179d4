"""The tree of a trace, whatever parents its sender names."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llmtrace.diagnosis import diagnose
from llmtrace.model import Custom, Failure, Span, Trace
from llmtrace.store import open_store, summarise

PARENTS = st.lists(st.one_of(st.none(), st.integers(0, 9)), min_size=1, max_size=8)


def spans(parents: list[int | None]) -> list[Span]:
    """Each with the number of its parent; numbers from 8 on are in no trace."""
    return [
        Span(
            f"{1:032x}",
            f"{at + 1:016x}",
            f"span {at}",
            at,
            at + 1,
            None if parent is None else f"{parent + 1:016x}",
            operation=Custom(),
        )
        for at, parent in enumerate(parents)
    ]


@given(PARENTS)
def test_each_span_stands_once_in_the_tree(parents: list[int | None]) -> None:
    """Under its parent where it names one that is there, but for one of each circle, the first to start, which is a root."""
    trace = Trace(spans(parents))
    walked = list(islice(trace.walk(), 100))
    assert sorted(span.span_id for _, span in walked) == [span.span_id for span in trace.spans]
    for _, span in walked:
        parent = trace.parent(span)
        assert (parent is None) == (span in trace.roots)
        if parent is not None:
            assert span in trace.children(parent)
            assert parent.span_id == span.parent_id
        elif span.parent_id in {one.span_id for one in trace.spans}:
            circle = above(span, trace)
            assert span.span_id in circle
            assert span.span_id == min(circle)
    depths = {span.span_id: depth for depth, span in walked}
    for _, span in walked:
        parent = trace.parent(span)
        assert depths[span.span_id] == (0 if parent is None else depths[parent.span_id] + 1)
    assert list(trace.roots) == [span for span in trace.spans if span in trace.roots]


def above(span: Span, trace: Trace) -> list[str]:
    """The parents that spans name, from one on until the first comes again."""
    named = {one.span_id: one.parent_id for one in trace.spans}
    found: list[str] = []
    at = span.parent_id
    while at in named and at not in found:
        found.append(at)
        at = named[at]
    return found


@given(PARENTS)
def test_no_tree_is_too_odd_to_be_told_of(parents: list[int | None]) -> None:
    trace = Trace(spans(parents))
    assert summarise(trace).spans == len(parents)
    assert diagnose(trace).trace_id == trace.trace_id


def test_a_circle_costs_the_store_nothing(tmp_path: Path) -> None:
    """A span that names itself its parent, and two that name each other: listed as any trace, and the others are, too."""
    store = open_store(str(tmp_path / "store"))
    for number, parents in enumerate(([0], [1, 0], [None])):
        for span in spans(parents):
            failure = Failure("ValueError") if number == 0 else None
            store.append(
                Span(
                    f"{number + 1:032x}",
                    span.span_id,
                    span.name,
                    span.start + number,
                    span.end,
                    span.parent_id,
                    operation=Custom(),
                    failure=failure,
                    attributes={"llm.step": number},  # else it would not be a run
                )
            )
    assert [(one.trace_id[-1], one.name, one.health, one.spans) for one in store.traces()] == [
        ("3", "span 0", "ok", 1),
        ("2", "span 0", "ok", 2),
        ("1", "span 0", "failed", 1),
    ]
    store.close()
