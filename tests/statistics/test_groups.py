"""Groups: every call counted once under its key, sums that add up, rates of all, None for unknown."""

from __future__ import annotations

import pytest

from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Evaluation,
    Failure,
    Fingerprint,
    Span,
    ToolExecution,
    Usage,
    Violation,
    Workflow,
    replace,
)
from llmtrace.statistics import OTHERS, By, Group, Statistics, collect, joined_groups
from llmtrace.statistics.groups import MAX_GROUPS, bucket
from tests.statistics.spans import BEGIN, SECOND, call, span

BAD = Violation("missing", "/a", "required", "x", tool="look_up", call_id="1")

SHOP = (
    span(1, Workflow("shop"), name="invoke_workflow shop", took=20),
    span(2, AgentInvocation("outer"), parent=1, name="invoke_agent outer", at=0.1, took=10),
    span(3, call(10, cost_usd=0.25, fingerprint=Fingerprint("p1")), parent=2, name="chat", at=0.2),
    span(4, Custom(), parent=2, name="classify", at=1),
    span(5, call(30, model="small", fingerprint=Fingerprint("p2")), parent=4, name="chat", at=1.1, took=3),
    span(6, ToolExecution("look_up"), parent=2, name="execute_tool look_up", at=2, violations=(BAD,)),
    span(7, AgentInvocation("inner"), parent=6, name="invoke_agent inner", at=2.1, took=5),
    span(8, call(None), parent=7, name="chat", at=2.2),
    span(9, Embedding("openai", request_model="e", usage=Usage(7)), parent=7, name="embeddings e", at=2.3),
)


def counted(by: By, *spans: Span) -> dict[tuple[str | None, ...], Group]:
    return collect(spans or SHOP, Statistics(by)).groups


def test_keys() -> None:
    """What is counted together, by each of the six, and how many calls that are."""
    calls = {
        by: {key: group.calls for key, group in counted(by).items()} for by in ("agent", "operation", "model", "tool", "prompt")
    }
    assert calls == {
        "agent": {(None,): 0, ("outer",): 1, ("inner",): 1},
        "operation": {
            ("outer", "chat", "m"): 1,
            ("outer", "classify", "small"): 1,
            ("outer", "execute_tool look_up", None): 1,
            ("inner", "chat", "m"): 1,
            ("inner", "embeddings", "e"): 1,
        },
        "model": {("m",): 2, ("small",): 1, ("e",): 1},
        "tool": {("look_up",): 1},
        "prompt": {("p1",): 1, ("p2",): 1, (None,): 1},
    }
    assert counted("name")["chat",].calls == 3


@pytest.mark.parametrize("by", ["agent", "operation", "model"])
def test_sums_add_up(by: By) -> None:
    """However the calls are grouped, their tokens and dollars are those of all model calls, each once."""
    found = collect(SHOP, Statistics(by))
    groups = found.groups.values()
    for amount in ("input_tokens", "output", "cost_usd"):
        parts = [getattr(group, amount) for group in groups]
        total = getattr(found.total, amount)
        assert sum(part.sum or 0 for part in parts) == total.sum
        assert sum(part.unknown for part in parts) == total.unknown
    assert (found.total.input_tokens.sum, found.total.output.sum, found.total.cost_usd.sum) == (407, 40, 0.25)
    assert (found.total.output.unknown, found.total.cost_usd.unknown) == (1, 2)


def test_usage_by_kind() -> None:
    """Cached and reasoning tokens are counted apart where they are told; where not, the call is one of unknown usage."""
    told, plain = Usage(100, 20, 80, None, 15), Usage(10, 1)
    group = counted("model", span(1, call(usage=told)), span(2, call(usage=plain), at=1))["m",]
    assert {kind: (amount.sum, amount.unknown) for kind, amount in group.of_kind.items()} == {
        "cache_read_input_tokens": (80, 1),
        "cache_write_input_tokens": (None, 2),
        "reasoning_output_tokens": (15, 1),
    }
    assert (group.input_tokens.sum, group.output.sum) == (110, 21)


def test_an_agent_has_what_is_below_it_but_not_below_another_agent() -> None:
    """Its runs, its duration, and the tokens, tool calls and answers of its own model calls."""
    outer, inner = (counted("agent")[name,] for name in ("outer", "inner"))
    assert (outer.duration.quantile(0.5), outer.model_calls, outer.output.sum, dict(outer.models)) == (
        10,
        2,
        40,
        {"m": 1, "small": 1},
    )
    assert (inner.model_calls, inner.output.sum, inner.input_tokens.sum) == (2, None, 7)
    assert outer.output_tokens.quantile(0.99) == 30


def test_only_what_one_agent_did() -> None:
    """With ``agent`` the others' calls are not counted, in the total neither."""
    found = collect(SHOP, Statistics("model", agent="outer"))
    assert {key: group.calls for key, group in found.groups.items()} == {("m",): 1, ("small",): 1}
    assert found.total.calls == 2


def test_failures() -> None:
    """By kind; a cancelled call is no error; of the durations only those of failures by time-out are kept."""
    kinds = ("openai.APITimeoutError", "asyncio.exceptions.CancelledError", "rate_limit", None)
    spans = [span(number, call(), took=number, failure=Failure(kind) if kind else None) for number, kind in enumerate(kinds, 1)]
    group = counted("model", *spans)["m",]
    assert dict(group.endings) == {"timeout": 1, "cancelled": 1, "rate_limit": 1}
    assert (group.calls, group.errors, group.rate(group.errors)) == (4, 2, 0.5)
    assert [group.duration.quantile(share) for share in (0.01, 0.99)] == [1, 4]
    assert (group.answered.count, group.answered.largest) == (1, 4)


@pytest.mark.parametrize("by", ["model", "operation"])
def test_failed_calls_are_counted_under_the_model_that_answers(by: By) -> None:
    """They name no model that answered. Where two answered under one name, they stay under the name that was asked for."""
    failed = {"failure": Failure("rate_limit"), "name": "chat"}
    calls = [span(1, call(10), name="chat"), span(2, call(None, model=""), at=1, **failed)]
    calls += [span(3, replace(call(None, model=""), request_model="never answered"), at=2, **failed)]
    statistics = collect(calls, Statistics(by))
    assert {key[-1]: (group.calls, group.errors) for key, group in joined_groups(statistics).items()} == {
        "m": (2, 1),
        "never answered": (1, 1),
    }
    two = collect([*calls, span(4, call(10, model="other"), at=3, name="chat")], Statistics(by))
    assert {key[-1] for key in joined_groups(two)} == {"m", "other", "asked", "never answered"}


def test_a_failed_call_is_no_change_of_the_model() -> None:
    """Which model would have answered is not known."""
    runs = [replace(span(number, call(10), at=number), trace_id=f"{number:032x}") for number in range(1, 3)]
    failed = replace(span(3, call(None, model=""), at=3, failure=Failure("rate_limit")), trace_id="c" * 32)
    assert not list(collect([*runs, failed], Statistics("model")).settings.changes())


def test_a_wait_for_a_person_is_not_latency() -> None:
    """What reviews inside a span waited is taken off its duration."""
    agents = [
        span(number, AgentInvocation("a"), took=10, attributes={"llmtrace.review.waited": waited})
        for number, waited in enumerate((4.5, 3, 60.0, "8"), 1)
    ]
    group = counted("agent", *agents)["a",]
    assert [group.duration.quantile(share) for share in (0.01, 0.5, 0.75, 0.99)] == [0, 5.5, 7, 10]


def test_findings() -> None:
    """A span with faults of quality counts once; names are counted; what says nothing about quality is left out."""
    found = (
        Evaluation("malformed_output", "error", "x"),
        Evaluation("malformed_output", "warning", "x"),
        Evaluation("defective_output", "info", "x"),
        *(Evaluation(name, "warning", "x") for name in ("slo", "budget_nearly_spent", "budget_unpriced", "drift.refusal_rate")),
        Evaluation("outcome", "error", "x", label="failure"),
    )
    broken = span(2, call(), at=1, violations=(replace(BAD, where="output"),))
    group = counted("model", span(1, call(), evaluations=found), broken, span(3, call(), at=2))["m",]
    assert (group.flawed, dict(group.evaluations), group.malformed) == (1, {"malformed_output": 1}, 2)
    assert group.rate(group.malformed) == pytest.approx(2 / 3)
    assert group.rate(0, 0) is None


def test_a_long_answer_is_not_a_slow_server() -> None:
    """Durations are also kept by the output length, in buckets of twice the width each."""
    assert [bucket(tokens) for tokens in (0, 1, 16, 17, 32, 33, 1025)] == [16, 16, 16, 32, 32, 64, 2048]
    group = counted("model", span(1, call(16), took=1), span(2, call(17), took=2), span(3, call(32), took=3))["m",]
    assert {upper: (times.count, times.largest) for upper, times in group.lengths.items()} == {16: (1, 1), 32: (2, 3)}


def test_cut_answers_are_counted() -> None:
    """They ended at their limit, so their length says little."""
    spans = (span(1, call(finish_reasons=("length",), parameters={"max_tokens": 10})), span(2, call(finish_reasons=("stop",))))
    group = counted("model", *spans)["m",]
    assert (group.cut, group.limits.count, group.limits.largest) == (1, 1, 10)


def test_groups_are_bounded() -> None:
    """Beyond the bound calls are counted together, and none is lost."""
    spans = [span(number, ToolExecution(f"tool {number}")) for number in range(1, MAX_GROUPS + 11)]
    groups = counted("tool", *spans)
    assert len(groups) == MAX_GROUPS + 1
    assert groups[OTHERS].calls == 10


def test_traces_are_streamed() -> None:
    """A trace is counted as soon as the next one begins: the reader is never more than one span ahead."""
    found = Statistics("model")

    def spans() -> object:
        for number in range(1, 4):
            assert found.traces == max(0, number - 2)
            yield replace(span(number, call(), at=number), trace_id=f"{number:032x}")

    collect(spans(), found)  # type: ignore[arg-type]
    assert (found.traces, found.first, found.last) == (3, BEGIN + SECOND, BEGIN + 3 * SECOND)


def test_unfinished_spans_are_said() -> None:
    """They are no calls, and their number is known."""
    found = collect([span(1, call(), took=None), span(2, call())], Statistics("model"))
    assert (found.unfinished, found.groups["m",].calls) == (1, 1)


def test_tools_of_other_writers_are_counted_by_their_names() -> None:
    """The span's name is one for all tools: ``ai.toolCall``."""
    runs = [span(number, ToolExecution(name), name="ai.toolCall") for number, name in ((1, "look_up"), (2, "refund"))]
    assert set(counted("operation", *runs)) == {(None, "execute_tool look_up", None), (None, "execute_tool refund", None)}
