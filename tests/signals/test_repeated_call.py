"""When two calls are the same, and what is said about the second."""

from __future__ import annotations

from typing import Any

from signal_cases import ERROR, found, infer, ran, run

from llmtrace.model import Evaluation, Failure, ToolExecution, replace
from llmtrace.signals.repeated_call import CALLS, SIGNAL


def findings(*steps: Any) -> list[Evaluation]:
    return [evaluation for _, evaluation in found(SIGNAL, run(*steps))]


def test_each_repeat_is_counted_and_names_the_first_and_the_last() -> None:
    """The second and every further one is found, with what came before as sources, also when other steps lie between."""
    second, third = findings(ran(), infer("x"), ran(), ran(name="search"), ran())
    assert (second.severity, second.label, second.evidence, second.sources) == (
        "warning",
        "repeat",
        {"count": 2},
        (f"{0:016x}",),
    )
    assert (third.evidence, third.sources) == ({"count": 3}, (f"{0:016x}", f"{2:016x}"))


def test_the_order_of_members_makes_no_difference() -> None:
    """Arguments are compared as JSON values."""
    one, other = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert len(findings(ran(arguments=one), ran(arguments=other))) == 1


def test_a_changed_result_begins_anew() -> None:
    """Polling is no repetition when something changes; the same result after the change is."""
    assert findings(ran("pending"), ran("done"), ran("pending")) == []
    assert len(findings(ran("pending"), ran("done"), ran("done"))) == 1


def test_retries_are_told_apart() -> None:
    """One retry of a failed call is good practice, so info; from the second on it is a warning. Success ends it."""
    again, third = findings(ran(ERROR), ran(ERROR), ran(ERROR))
    assert (again.label, again.severity) == ("retry", "info")
    assert (third.label, third.severity) == ("retry", "warning")
    assert findings(ran(ERROR), ran("fine")) == []


def test_exceptions_are_compared_by_type_and_message() -> None:
    """A tool that raises the same again is a retry; raising something else is not the same result."""
    first, second, third = run(*[ToolExecution("look_up", {"q": 1})] * 3)[:3]
    same = [replace(one, failure=Failure("ValueError", "no")) for one in (first, second)]
    assert [evaluation.label for _, evaluation in found(SIGNAL, same)] == ["retry"]
    assert found(SIGNAL, [*same[:1], replace(third, failure=Failure("KeyError", "no"))]) == []


def test_a_name_that_was_never_run_is_not_quoted() -> None:
    """A refused call's tool name is the model's own word."""
    refused = ToolExecution("made up", {"q": 1}, "no such tool", has_result=True, executed=False)
    (evaluation,) = findings(refused, refused)
    assert "made up" not in evaluation.explanation


def test_the_oldest_call_is_forgotten() -> None:
    """Only so many calls are remembered; one that comes again is kept."""
    others = [ran(arguments={"n": number}) for number in range(CALLS)]
    assert findings(ran(), *others, ran()) == []
    assert len(findings(ran(), *others[:-1], ran(), *others[-1:], ran())) == 2
