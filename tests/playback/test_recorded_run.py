"""Where the steps of a new run belong in a recorded one."""

from __future__ import annotations

from tests.agent_run import AgentRun

from llmtrace.model import Inference, Operation, Scope, Span, ToolExecution, Trace, Workflow
from llmtrace.playback.difference import difference
from llmtrace.playback.recorded_run import RecordedRun, same_program
from llmtrace.semconv import PROGRAM


def span(number: int, operation: object, parent: int | None = None, **fields: object) -> Span:
    return Span(
        "a" * 32,
        f"{number:016x}",
        fields.pop("name", "step"),  # type: ignore[arg-type]
        number,
        number + 1,
        None if parent is None else f"{parent:016x}",
        operation=operation,  # type: ignore[arg-type]
        run_id=fields.pop("run_id", "b" * 32),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


def text(recorded: Operation, made: Operation) -> str:
    found = difference(recorded, made)
    assert found is not None
    return found.text


def test_places_are_taken_in_order_and_once() -> None:
    run = RecordedRun([Trace([span(1, ToolExecution("a")), span(2, ToolExecution("b")), span(3, ToolExecution("a"))])])
    taken: set[str] = set()
    places = []
    for name in ("a", "a", "a", "b"):
        step = run.place(run.top, ToolExecution(name), "", taken)
        places.append(None if step is None or step.span is None else step.span.start)
        taken |= set() if step is None else {step.id}
    assert places == [1, 3, None, 2]
    assert run.unused(taken) == []


def test_the_program_and_spans_of_others_are_no_steps() -> None:
    """A run that was recorded under ``llmtrace run`` replays without it, and the other way round; a span of another
    instrumentation in it opens no step in the new run."""
    program = span(1, Workflow("agent.py"), attributes={PROGRAM: True})
    other = span(2, Workflow("http"), 1, scope=Scope("shop"))
    call = span(3, Inference("openai"), 2)
    run = RecordedRun([Trace([program, other, call])])
    step = run.place(run.top, Inference("anthropic", request_model="another"), "chat another", ())
    assert step is not None
    assert step.span is call


def test_traces_of_the_same_program() -> None:
    def trace(trace_id: str, pid: int | None) -> Trace:
        resource = {} if pid is None else {"service.name": "x", "process.pid": pid}
        ours = Span(trace_id * 32, "1" * 16, "", 0, resource=resource)
        return Trace([Span(trace_id * 32, "2" * 16, "of the program's own provider", 0), ours])

    wanted, sibling, other, unknown = trace("a", 1), trace("b", 1), trace("c", 2), trace("d", None)
    assert same_program([other, wanted, unknown, sibling], wanted) == [wanted, sibling]
    assert same_program([wanted, unknown], unknown) == [unknown]


def test_differences_name_the_first_thing() -> None:
    def call(text: str, **fields: object) -> Inference:
        agent = AgentRun(system="Be kind.").user(text)
        return Inference("openai", request_model=str(fields.pop("model", "m")), input=tuple(agent.messages), **fields)  # type: ignore[arg-type]

    before = call("book a room in Oslo for two nights from Monday on", parameters={"temperature": 0.0})
    assert difference(before, before) is None
    assert text(before, call("x", model="n")) == "the model was m, is n"
    assert text(before, call("x", parameters={"temperature": 0.7})) == "parameters: temperature was 0.0, is 0.7"
    assert text(before, call("x", parameters={})) == "parameters: temperature was 0.0, is absent"
    changed = call("book a room in Bergen for two nights from Monday on", parameters={"temperature": 0.0})
    assert text(before, changed) == "message 2 (user): book a room in [-Oslo-] {+Bergen+} for two nights from Monday on"
    long = call("word " * 5000 + "end", parameters={"temperature": 0.0})
    assert "{+word" in text(before, long)
