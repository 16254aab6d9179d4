"""What holds for all laws over whole runs: replay is live, order does not matter, failures stay apart."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from law_cases import CASES, DONE, ERROR, RUN, TOOLS, call, evaluate, execute, infer, result_of, run, user

from llmtrace.diagnosis import findings_of
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.laws import Law, load
from llmtrace.laws.finding import Finding
from llmtrace.model import Evaluation, Inference, Message, Span, Text, ToolCall, ToolExecution, ToolResult, Trace, replace
from llmtrace.reading.calls import MOST_CALLS
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.timeline import Timeline
from llmtrace.reading.turns import MOST_REQUESTS

EVERY_RUN = [pytest.param(spans, id=f"{name}-{label}") for name, cases in CASES.items() for label, spans in cases.bad.items()]


def verdicts(spans: list[Span], *names: str) -> set[tuple[str, str | None, str, str | None]]:
    """What is said of a run and its steps, without the spans that it is said of."""
    found = [evaluation for span in evaluate(spans) for evaluation in span.evaluations]
    return {(one.name, one.label, one.severity, one.call_id) for one in found if not names or one.name in names}


def judged(spans: list[Span]) -> list[Finding]:
    return findings_of(Trace(evaluate(spans)))


@pytest.mark.parametrize("spans", EVERY_RUN)
def test_replay_is_live(spans: list[Span]) -> None:
    """A trace that is judged again has the findings that it had live."""
    bare = [replace(span, evaluations=(), violations=()) for span in spans]
    if spans[-1].end is not None:
        live = Trace(evaluate(bare))
        assert evaluate_trace(live) == (live, ())


def test_a_law_states_nothing_where_its_condition_is_not_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Law.when` saves time and changes no verdict."""
    runs = [spans for cases in CASES.values() for spans in cases.runs if spans[-1].end is not None]
    found = [verdicts(spans) for spans in runs]
    for law in load():
        monkeypatch.setattr(law, "when", "")
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
    assert ("duplicated_effect", "made_twice", "warning", "c3") in verdicts(run(*steps))
    assert ("ungrounded_argument", "in_change", "warning", "c1") in verdicts(run(*steps))


def test_parallel_executions_may_end_in_any_order() -> None:
    """Three calls of one answer; whichever tool ends first, the same is found."""
    calls = [call("refund", {"n": number % 2}, f"c{number}") for number in range(3)]
    executions = [execute("ok", "refund", one.arguments, one.id, changes=True) for one in calls]
    messages = (
        user("go"),
        Message("assistant", tuple(calls)),
        *(Message("tool", (ToolResult("ok", one.id),)) for one in calls),
    )
    answer = infer("Done.", request=messages)
    found = {
        frozenset((one.law, one.label, one.confidence) for one in judged(run(infer(*calls), *order, answer)))
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
    spans, traced = (run(*conversation(*calls, traced=is_traced)) for is_traced in (False, True))
    assert verdicts(spans) == verdicts(traced)
    found, expected = (sorted((one.law, one.label, one.confidence) for one in judged(each)) for each in (spans, traced))
    assert found == expected


def test_a_finding_of_messages_names_the_model_call_that_asked() -> None:
    """It is about the first call, and rests on all of them."""
    spans = run(*conversation(SAME, SAME, SAME, traced=False))
    (repeated,) = (found for found in judged(spans) if found.law == "repeated_call")
    assert (repeated.label, repeated.span_id) == ("same_result", spans[0].span_id)
    assert repeated.spans == tuple(span.span_id for span in spans[:3])
    (mark,) = evaluate(spans)[-1].evaluations
    assert (mark.label, mark.call_id, mark.sources) == ("same_result", "c0", repeated.spans)


def test_calls_before_another_result_are_counted_apart() -> None:
    (repeated,) = (one for one in judged(run(execute("none yet"), *[execute()] * 3)) if one.law == "repeated_call")
    assert "was called 3 times" in repeated.evidence
    assert repeated.evidence.endswith("the same result, within one turn, after one earlier call.")
    assert len(repeated.spans) == 3


def test_repeats_begin_anew_with_another_task() -> None:
    """What a program looks up for one task, it may look up for the next."""
    tasks = [infer(call(), request=(user("Where is A-1?"),)), execute(), infer("There.", request=(user("Where is A-1?"),))]
    again = [infer(call(), request=(user("Is B-2 late?"),)), execute(), infer("No.", request=(user("Is B-2 late?"),))]
    assert not [found for found in judged(run(*tasks, *again)) if found.law == "repeated_call"]
    (repeated,) = (found for found in judged(run(*tasks[:2], execute(), *tasks[2:])) if found.law == "repeated_call")
    assert (repeated.label, repeated.confidence) == ("same_result", "possible")


def test_the_oldest_call_is_forgotten() -> None:
    """A live run keeps only so many calls. A call that comes again among those is found, and the stored run is judged whole."""
    others = [execute(arguments={"n": number}) for number in range(4 * MOST_CALLS)]
    for steps, is_live in (([execute(), *others, execute(), execute()], False), ([*others, *[execute()] * 3], True)):
        spans = evaluate(run(*steps), *load(("repeated_call",)))
        assert [one.label for one in spans[-1].evaluations] == (["same_result"] if is_live else [])
        found = [one.label for one in findings_of(Trace(spans)) if one.law == "repeated_call"]
        assert found == ["same_result"]


def test_a_turn_of_many_agents_is_bounded() -> None:
    """Each agent is another conversation; only the newest are remembered, and none repeats another."""
    timeline = Timeline(bounded=True)
    for number in range(3 * MOST_CALLS):
        start, agent = 10 * number, f"{number + 1:016x}"
        asked = infer(call(arguments={"n": number}), request=(user(f"Do {number}"),))
        done = execute(arguments={"n": number})
        for place, operation in enumerate((asked, done), 1):
            at, times = f"{start + place + 2**32:016x}", (start + place, start + place + 1)
            timeline.add(Span("1" * 32, at, "s", *times, agent, operation=operation))
    assert len(timeline.calls.all) <= 2 * MOST_CALLS
    assert len(timeline.steps) <= 4 * MOST_CALLS
    assert len(timeline.turns) <= MOST_REQUESTS
    outermost = run()[-1]
    assert [one for law in load() for one in law.judge(EndedRun(timeline, outermost))] == []


class Raising(Law[None]):
    """A law that fails in one of its methods."""

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

    def judge(self, run: EndedRun) -> Any:
        return self._raise("judge")


@pytest.mark.parametrize("method", ["start", "step", "finish", "judge"])
@pytest.mark.guard_may_log
def test_a_law_that_raises_costs_only_its_own_verdicts(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """The others are heard, and one line names it."""
    evaluator = Evaluator((Raising(method), *load(("failed_tool", "repeated_call"))))
    trace, unknown = evaluate_trace(Trace(run(*[execute(ERROR)] * 3, infer("Yes?"))), evaluator)
    found: list[Evaluation] = [one for span in trace.spans for one in span.evaluations]
    labels = [one.label for one in found if one.name == "failed_tool"]
    assert sorted(filter(None, labels)) == [*["error_result"] * 3, "never_succeeded"]
    assert {one.label for one in found if one.name == "repeated_call"} == {"same_result", "same_error"}
    assert unknown == ()
    assert caplog.text.count(f"quality signal raising_{method} failed with ZeroDivisionError") == 1


def test_the_kinds_of_operation_are_a_promise() -> None:
    """A law that looks at some kinds of operation is not called with others."""
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


def ends_with(*steps: Any) -> set[str]:
    """Confidence that a failed tool spoilt the run."""
    spans = run(infer("I will see."), *steps, infer(DONE))
    return {one.confidence for one in judged(spans) if one.label == "never_succeeded"}


def test_what_makes_up_for_a_failed_tool() -> None:
    """A change must go through itself. What a lookup would have said must be asked for in another way."""
    refund = execute(ERROR, "refund")
    assert ends_with(refund) == {"certain"}
    assert ends_with(refund, execute("a depot", "search", {"q": "else"})) == {"certain"}
    assert ends_with(refund, execute("ok", "refund", {"q": "else"})) == set()
    assert ends_with(execute(ERROR), execute("a depot", "search", {"q": "else"})) == {"certain"}
    assert ends_with(execute("a depot", "search", {"q": "else"}), execute(ERROR)) == {"certain"}
    assert ends_with(execute(ERROR), execute("a depot", "look_up", {"q": "else"})) == set()
    equal = infer(call(call_id="c1"), call(call_id="c2"))
    assert ends_with(equal, execute("a depot", call_id="c1"), execute(ERROR, call_id="c2")) == set()
    assert ends_with(refund, ToolExecution("refund", {"q": "else"})) == {"possible"}  # how that went is not visible
    goes_on = (Message("assistant", (Text(DONE),)), user("thanks, and now?"))
    assert ends_with(refund, infer(DONE), infer("It is.", request=goes_on)) == {"possible"}  # the user goes on from there
    assert ends_with(refund, infer(DONE), infer("It is.", request=(user("Another task"),))) == {"certain"}
