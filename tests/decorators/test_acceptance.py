"""Acceptance checks: what they are, what they say of the run, and that nothing of them reaches the program."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
import pytest

import llmtrace
from llmtrace.errors import ConfigurationError
from llmtrace.guards.check import judge_of
from llmtrace.model import Evaluation
from llmtrace.testing import capture


class Order(pydantic.BaseModel):
    id: str
    amount: float

    @pydantic.field_validator("amount")
    @classmethod
    def _above_zero(cls, amount: float) -> float:
        assert amount > 0, "nothing to pay"
        return amount


SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}


def judged(check: Any, output: Any) -> tuple[Evaluation, str]:
    """The acceptance of an agent that gives ``output``, and its trace's health."""

    @llmtrace.agent(check=check)
    def answer() -> Any:
        return output

    with capture(signals=[]) as captured:
        assert answer() is output
    (span,) = captured.spans
    return next(found for found in span.evaluations if found.name == "acceptance"), captured.trace.health


def holds(output: Any) -> None:
    assert "42" in output, "no 42"


@pytest.mark.parametrize(
    ("check", "output"),
    [
        (SCHEMA, {"id": "W1"}),
        (SCHEMA, '{"id": "W1"}'),
        ({"type": "string", "minLength": 2}, "ok"),
        (Order, Order(id="W1", amount=2)),
        (Order, '{"id": "W1", "amount": 2}'),
        (Order, {"id": "W1", "amount": "2"}),
        (Literal["yes", "no"], "yes"),
        (str.isupper, "YES"),
        (holds, "it is 42"),
        (lambda _: 0.7, "so so"),
        (lambda _: "", "fine"),
    ],
)
def test_what_is_acceptable_passes(check: Any, output: Any) -> None:
    """Severity info, label pass, and a run that went well."""
    found, health = judged(check, output)
    assert (found.severity, found.label, health) == ("info", "pass", "ok")


@pytest.mark.parametrize(
    ("check", "output", "said", "evidence"),
    [
        (SCHEMA, {"id": 5}, "/id", "5"),
        (SCHEMA, '{"id": ', "the answer breaks its schema", ""),
        (SCHEMA, "sorry", "the answer breaks its schema", ""),
        (SCHEMA, None, "the answer breaks its schema", ""),
        (Order, '{"id": "W1"}', "the answer is no Order: /amount (missing)", ""),
        (Order, "sorry", "the answer is no Order: it is not JSON", ""),
        (Order, {"id": "W1", "amount": -1}, "/amount (assertion_error)", "nothing to pay"),
        (str.isupper, "no", "isupper refused the answer", ""),
        (holds, "it is 41", "holds did not hold", "no 42"),
        (lambda _: "too long", "no", "refused the answer", "too long"),
        (lambda _: 0.2, "no", "scored it below 0.5", ""),
    ],
)
def test_what_is_not_fails(check: Any, output: Any, said: str, evidence: str) -> None:
    """Severity error on the agent's span; the run failed; what was said of the content stands in the evidence."""
    found, health = judged(check, output)
    assert (found.severity, found.label, health) == ("error", "fail", "failed")
    assert said in found.explanation
    assert evidence in str(found.evidence)
    assert not evidence or evidence not in found.explanation


def test_a_schema_is_the_one_that_was_given() -> None:
    """The program may change its own later."""
    schema: dict[str, Any] = {"type": "object", "required": ["id"]}
    judge = judge_of(schema)
    assert judge is not None
    del schema["required"]
    assert judge({}).label == "fail"


@pytest.mark.parametrize("check", [lambda _: 1 / 0, lambda _: object(), lambda: True])
def test_a_check_that_raises_is_its_own_failure(check: Any) -> None:
    """The program goes on, the answer counts as neither accepted nor refused."""
    found, health = judged(check, "x")
    assert (found.severity, found.label, health) == ("warning", "check_failed", "ok")
    assert "the check itself failed with" in found.explanation


def test_the_programs_own_outcome_counts() -> None:
    """`outcome` decides; that the check found otherwise is said."""

    @llmtrace.agent(check=lambda _: False)
    def answer() -> str:
        llmtrace.outcome("success")
        return "x"

    with capture(signals=[]) as captured:
        answer()
    assert captured.trace.outcome is not None
    assert captured.trace.outcome.label == "success"
    assert "though the program reported success" in captured.spans[0].evaluations[-1].explanation


def test_an_inner_agents_check_is_no_outcome() -> None:
    """A step that was refused and done again is an error on the way."""

    @llmtrace.agent(check=lambda _: False)
    def inner() -> str:
        return "x"

    with capture(signals=[]) as captured, llmtrace.agent("outer"):
        inner()
    assert captured.trace.outcome is None
    assert captured.trace.health == "recovered"


def test_all_kinds_of_agents() -> None:
    """Coroutines, generators and blocks; one that was left early or raised is not judged."""
    seen: list[Any] = []

    def check(output: Any) -> None:
        seen.append(output)

    @llmtrace.agent(check=check)
    async def coroutine() -> str:
        return "a"

    @llmtrace.agent(check=check)
    def generator() -> Iterator[str]:
        yield "b"
        yield "c"

    @llmtrace.agent(check=check)
    def fails() -> None:
        raise KeyError

    with capture():
        asyncio.run(coroutine())
        list(generator())
        left = generator()
        next(left)
        left.close()
        with pytest.raises(KeyError):
            fails()
        with llmtrace.agent("block", check=check) as span:
            span.output = "d"
    assert seen == ["a", "bc", "d"]


def test_what_can_judge_nothing_is_refused() -> None:
    """A programming error is told where it is made."""

    async def later(_: Any) -> bool:
        return True

    for check in (5, later):
        with pytest.raises(ConfigurationError):
            llmtrace.agent(check=check)  # type: ignore[call-overload]
