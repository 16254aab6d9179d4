"""Laws of quality signals that need the evaluator or whole runs: replay is live, order does not matter, failures stay apart."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from law_cases import CASES, DONE, ERROR, RUN, TOOLS, call, evaluate, execute, infer, result_of, run, user
from llmtrace.reading.run_evidence import RunEvidence

from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.laws import Signal, load
from llmtrace.laws.repeated_call import MOST_CALLS, SIGNAL
from llmtrace.model import Evaluation, Inference, Message, Span, Text, ToolCall, ToolExecution, ToolResult, Trace, replace

EVERY_RUN = [pytest.param(spans, id=f"{name}-{label}") for name, cases in CASES.items() for label, spans in cases.bad.items()]


def verdicts(spans: list[Span], *names: str) -> set[tuple[str, str | None, str, str | None]]:
    """What is found, without the spans that it is found on."""
    found = [evaluation for span in evaluate(spans) for evaluation in span.evaluations]
    return {(one.name, one.label, one.severity, one.call_id) for one in found if not names or one.name in names}


@pytest.mark.parametrize("spans", EVERY_RUN)
def test_replay_is_live(spans: list[Span]) -> None:
    """A trace that is judged again has the findings that it had live."""
    bare = [replace(span, evaluations=(), violations=()) for span in spans]
    if not spans[-1].parent_id:  # `finish` belongs to runs whose outermost span ended
        live = Trace(evaluate(bare))
        assert evaluate_trace(live) == (live, ())


def test_a_signal_finds_nothing_where_its_need_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Signal.needs` saves time and changes no verdict."""
    runs = [spans for cases in CASES.values() for spans in (*cases.bad.values(), *cases.good)]
    found = [verdicts(spans) for spans in runs]
    for signal in load():
        monkeypatch.setattr(signal, "needs", "")
    assert [verdicts(spans) for spans in runs] == found


CALLS = ("failed_tool", "repeated_call", "duplicated_effect", "answer_without_evidence", "end_state", "ungrounded_argument")
MADE_UP = {"order_id": "KS-20431"}
FIRST, SECOND, THIRD = (call("refund", MADE_UP, f"c{number}") for number in (1, 2, 3))
STEPS: list[Any] = [
    infer(FIRST),
    execute(ERROR, "refund", MADE_UP, "c1", changes=True),
    infer(SECOND, request=result_of(FIRST, ERROR)),
    execute("ok", "refund", MADE_UP, "c2", changes=True),
    infer(THIRD, request=result_of(SECOND, "ok")),
    execute("ok", "refund", MADE_UP, "c3", changes=True),
    infer("Done, number 4711.", request=result_of(THIRD, "ok")),
]


@pytest.mark.parametrize("swaps", [(0,), (2,), (4,), (0, 2, 4)])
def test_executions_may_end_before_their_model_call(swaps: tuple[int, ...]) -> None:
    """Findings on calls do not depend on whether the model's span or the tool's span ends first."""
    steps = STEPS.copy()
    for place in swaps:
        steps[place], steps[place + 1] = steps[place + 1], steps[place]
    assert verdicts(run(*steps), *CALLS) == verdicts(run(*STEPS), *CALLS)
    assert ("duplicated_effect", "declared", "warning", "c3") in verdicts(run(*steps))
    assert ("ungrounded_argument", "in_change", "warning", "c2") in verdicts(run(*steps))


def test_parallel_executions_may_end_in_any_order() -> None:
    """Three calls of one answer; whichever tool ends first, the same is found."""
    calls = [call("refund", {"n": number % 2}, f"c{number}") for number in range(3)]
    executions = [execute("ok", "refund", one.arguments, one.id, changes=True) for one in calls]
    messages = (
        user("go"),
        Message("assistant", tuple(calls)),
        *(Message("tool", (ToolResult("ok", one.id),)) for one in calls),
    )
    found = {
        frozenset((name, label) for name, label, _, _ in verdicts(run(infer(*calls), *order, infer("Done.", request=messages))))
        for order in itertools.permutations(executions)
    }
    assert len(found) == 1


def conversation(*calls: tuple[str, Any, Any], traced: bool) -> list[Any]:
    """The steps of an agent that asks for these calls (tool, arguments, result), one by one, and then answers."""
    history = [user("where is it?")]
    steps: list[Any] = []
    for number, (name, arguments, result) in enumerate(calls):
        asked = Message("assistant", (ToolCall(name, arguments, f"c{number}"),))
        steps.append(Inference("openai", "m", input=tuple(history), output=(asked,), tools=TOOLS))
        if traced:
            steps.append(ToolExecution(name, arguments, result, True, f"c{number}"))
        history += [asked, Message("tool", (ToolResult(result, f"c{number}"),))]
    answer = Message("assistant", (Text("It is on its way."),))
    return [*steps, Inference("openai", "m", input=tuple(history), output=(answer,), tools=TOOLS)]


SAME = ("look_up", {"id": 7}, {"state": "sent"})
FAILED = ("refund", {"id": 7}, {"error": "no such order"})
OTHER = ("search", {"q": "parcel"}, ["a depot"])


@pytest.mark.parametrize("calls", [[SAME] * 3, [SAME, OTHER] * 3, [FAILED], [FAILED] * 3, [OTHER, OTHER]])
def test_tools_without_spans_are_judged_alike(calls: list[Any]) -> None:
    """Of a program that is traced as it is, results stand in messages only. The findings are those of the traced program."""
    spans = run(*conversation(*calls, traced=False))
    assert verdicts(spans) == verdicts(run(*conversation(*calls, traced=True)))


def test_a_finding_of_messages_names_the_model_call_that_asked() -> None:
    """It stands on the model call that was sent the result."""
    judged = evaluate(run(*conversation(SAME, SAME, SAME, traced=False)))
    (repeated,) = (found for found in judged[3].evaluations if found.name == "repeated_call")
    assert (repeated.label, repeated.call_id, repeated.sources) == ("same_result", "c2", (f"{0:016x}", f"{1:016x}"))


def test_repeats_begin_anew_with_another_task() -> None:
    """What a program looks up for one task, it may look up for the next."""
    tasks = [infer(call(), request=(user("Where is A-1?"),)), execute(), infer("There.", request=(user("Where is A-1?"),))]
    again = [infer(call(), request=(user("Is B-2 late?"),)), execute(), infer("No.", request=(user("Is B-2 late?"),))]
    assert not {name for name, *_ in verdicts(run(*tasks, *again))} & {"repeated_call"}
    assert ("repeated_call", "twice", "info", None) in verdicts(run(*tasks[:2], execute(), *tasks[2:]))


def test_the_oldest_call_is_forgotten() -> None:
    """Only so many calls are remembered; one that comes again is kept."""
    others = [execute(arguments={"n": number}) for number in range(MOST_CALLS)]
    (signal,) = load(("repeated_call",))
    evaluator = Evaluator((signal,))
    for steps, expected in (
        ([execute(), *others, execute()], 0),
        ([execute(), *others[:9], execute(), *others[9:], execute()], 2),
    ):
        state = evaluator.start()
        assert sum(len(evaluator.step(state, span).evaluations) for span in run(*steps)) == expected


def test_a_turn_of_many_agents_is_bounded() -> None:
    """Each agent is another conversation; only the newest are remembered."""
    evidence = RunEvidence()
    state = SIGNAL.start(evidence)
    for number in range(2 * MOST_CALLS):
        start, agent = 10 * number, f"{number + 1:016x}"
        asked = infer(call(arguments={"n": number}), request=(user(f"Do {number}"),))
        done = execute(arguments={"n": number})
        for place, operation in enumerate((asked, done), 1):
            span = Span(
                "1" * 32, f"{start + place + 2**32:016x}", "s", start + place, start + place + 1, agent, operation=operation
            )
            evidence.add(span)
            assert list(SIGNAL.step(state, span)) == []
    assert len(state.newest) == len(state.repeats) == MOST_CALLS


class Raising(Signal[None]):
    """A signal that fails in one of its methods."""

    looks_at = (ToolExecution,)

    def __init__(self, method: str) -> None:
        self.name = f"raising_{method}"
        self.method = method

    def _raise(self, method: str) -> Any:
        if method == self.method:
            raise ZeroDivisionError
        return ()

    def start(self, run: Any) -> None:
        self._raise("start")

    def step(self, state: None, span: Span) -> Any:
        return self._raise("step")

    def finish(self, state: None) -> Any:
        return self._raise("finish")

    def on_reading(self, trace: Trace) -> Any:
        return self._raise("on_reading") or {}


@pytest.mark.parametrize("method", ["start", "step", "finish", "on_reading"])
@pytest.mark.guard_may_log
def test_a_signal_that_raises_costs_only_its_own_verdicts(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others are heard, and one line names it."""
    evaluator = Evaluator((Raising(method), *load(("repeated_call", "end_state"))))
    trace, unknown = evaluate_trace(Trace(run(execute(), execute(), execute(), infer("Yes?"))), evaluator)
    found: list[Evaluation] = [one for span in trace.spans for one in span.evaluations]
    assert [one.label for one in found if one.name == "repeated_call"] == ["twice", "same_result"]
    assert unknown == ()
    assert caplog.text.count(f"quality signal raising_{method} failed with ZeroDivisionError") == 1


def test_the_kinds_of_operation_are_a_promise() -> None:
    """A signal that looks at some kinds of operation is not called with others."""
    evaluator = Evaluator((Raising("step"),))
    state = evaluator.start()
    (span, *_) = run(infer("hello"))
    assert evaluator.step(state, span) == span


def test_verdicts_of_others_stay() -> None:
    """Judged again, a span keeps what a person or the program said of it."""
    outcome = Evaluation("outcome", "error", "it failed", "failure")
    spans = [replace(span, evaluations=(outcome,)) for span in run(infer("Fine."))]
    (judged, _), evaluator = evaluate_trace(Trace(spans)), Evaluator()
    assert all(outcome in span.evaluations for span in judged.spans)
    assert all(evaluator.without_verdicts(span).evaluations == (outcome,) for span in judged.spans)
    assert judged.root.run_id == RUN


def ends_with(*steps: Any) -> set[str | None]:
    """Labels on the end of a run that a failed tool may have spoilt."""
    found = verdicts(run(infer("I will see."), *steps, infer(DONE)), "failed_tool")
    return {label for _, label, _, _ in found} & {"never_succeeded", "admitted"}


def test_what_makes_up_for_a_failed_tool() -> None:
    """A change must go through itself. What a lookup would have said may be found in another way."""
    refund = execute(ERROR, "refund")
    assert ends_with(refund) == {"never_succeeded"}
    assert ends_with(refund, execute("a depot", "search", {"q": "else"})) == {"never_succeeded"}
    assert ends_with(refund, execute("ok", "refund", {"q": "else"})) == set()
    assert ends_with(refund, execute("ok", "pay_back")) == set()
    assert ends_with(execute(ERROR), execute("a depot", "search", {"q": "else"})) == set()
    assert ends_with(execute("a depot", "search", {"q": "else"}), execute(ERROR)) == {"never_succeeded"}
    beside = infer(call("search", call_id="c1"), call("look_up", call_id="c2"))
    assert ends_with(beside, execute("a depot", "search", call_id="c1"), execute(ERROR, call_id="c2")) == set()
    assert ends_with(refund, ToolExecution("refund", {"q": "else"})) == set()  # how that went is not visible
    assert ends_with(refund, infer(DONE, request=(user("thanks, and now?"),))) == set()  # the user goes on from there
