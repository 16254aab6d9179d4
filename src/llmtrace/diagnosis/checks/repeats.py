"""Calls that came again: with the same result, in a circle, or as a change that was made twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from llmtrace.diagnosis.checks import Check, Run
from llmtrace.diagnosis.finding import Finding, of_call, plural
from llmtrace.diagnosis.flow import Node
from llmtrace.diagnosis.result import Confidence
from llmtrace.evidence.calls import result_text

SAME = 3
"""The same call with the same result this often is a loop."""
_LONGEST_CYCLE = 4
_ADVICE = "Stop the run when a call repeats: Budget(repeats=2), or have the tool say that the answer is the same as before."


def same_calls(run: Run) -> Iterator[Finding]:
    """The same call brought the same result three times within one turn of the user, and its tool is not polled.

    Twice is worth a look. A change that was made twice with the same arguments is certain where the tool is declared to change
    something with each call, and possible elsewhere.
    """
    groups: dict[tuple[int, str], list[Node]] = defaultdict(list)
    for node in run.calls:
        if node.call is not None and node.call.has_arguments:
            groups[node.turn, node.call.key].append(node)
    for nodes in groups.values():
        if len(nodes) > 1:
            yield from _repeated(nodes)
            yield from _changed_twice(nodes)


def _repeated(nodes: Sequence[Node]) -> Iterator[Finding]:
    results: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        if node.call is not None and node.call.is_complete and not node.call.is_polling:
            results[result_text(node.call)].append(node)
    for same in results.values():
        if len(same) < 2:
            continue
        first, times = same[0], plural(len(same), "time")
        evidence = f"{first.tool} was called {times} with the same arguments and brought the same result, within one turn."
        title = f"{first.tool} was called {times} with the same result"
        confidence: Confidence = "certain" if len(same) >= SAME else "possible"
        spans = tuple(node.place for node in same)
        yield of_call("same_call", confidence, first, title, evidence, _ADVICE, cause_key=first.tool, spans=spans)


def _changed_twice(nodes: Sequence[Node]) -> Iterator[Finding]:
    done = [node for node in nodes if node.call is not None and node.call.is_change and node.call.failed is False]
    if len(done) < 2 or done[0].call is None:
        return
    declared = done[0].call.is_declared_change
    known = "which is declared to change something with each call" if declared else "which changes something by its name"
    first, times = done[0], plural(len(done), "time")
    evidence = f"{first.tool}, {known}, went through {times} with the same arguments."
    advice = f"Give {first.tool} a key against repeats (an idempotency key), or have it refuse what is done already."
    yield of_call(
        "change_made_twice", "certain" if declared else "possible", done[1], f"{first.tool} was done {times}", evidence, advice,
        cause_key=(first.tool, first.call.key if first.call else ""), spans=tuple(node.place for node in done),
    )  # fmt: skip


def cycles(run: Run) -> Iterator[Finding]:
    """Two to four different calls came three times over in a row, with the same arguments, within one turn."""
    calls = [node for node in run.calls if node.call is not None and node.call.has_arguments and not node.call.is_polling]
    keys = [(node.turn, node.call.key if node.call is not None else "") for node in calls]
    for length in range(2, _LONGEST_CYCLE + 1):
        for start in range(len(keys) - 3 * length + 1):
            part = keys[start : start + length]
            if (
                len(set(part)) > 1
                and part == keys[start + length : start + 2 * length] == keys[start + 2 * length : start + 3 * length]
            ):
                first = calls[start]
                names = ", ".join(dict.fromkeys(node.tool for node in calls[start : start + length]))
                evidence = f"The calls {names} came three times over in a row, with the same arguments."
                spans = tuple(node.place for node in calls[start : start + 3 * length])
                yield of_call(
                    "cycle", "certain", first, f"the run went in a circle of {length} calls", evidence, _ADVICE, spans=spans
                )
                return


CHECKS = (
    Check("repeated_calls", same_calls, ("calls", "results")),
    Check("cycles", cycles, ("calls",)),
)
