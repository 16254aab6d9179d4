"""For every law: runs about whose steps it states a fact, runs that it judges, and runs on which it is silent.

All their content holds CANARY.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmtrace import semconv
from llmtrace.evaluation import Evaluator
from llmtrace.laws import AnyLaw
from llmtrace.laws.finding import Finding
from llmtrace.model import (
    AgentInvocation,
    Confidence,
    Evaluation,
    Failure,
    Generic,
    Inference,
    Memory,
    Message,
    Operation,
    Part,
    Reasoning,
    Receipt,
    Retrieval,
    Review,
    Scope,
    ServerToolCall,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
    Violation,
    replace,
)
from llmtrace.reading.read import read_runs
from llmtrace.semconv import SCOPE_NAME

CANARY = "xk7canary"
ROOT = "f" * 16
RUN = "a" * 32
TOOLS = tuple(ToolDefinition(name, {"type": "object"}) for name in ("look_up", "refund", "search"))
JSON = {"response_format": {"type": "json_object"}}
ARGUMENTS = {"q": CANARY}


# -- parts of runs


def run(*steps: Operation | Span, failure: Failure | None = None) -> list[Span]:
    """Spans of one run in the order of ending; the outermost one last. ``failure``: of the outermost span."""
    spans = []
    for number, step in enumerate(steps):
        span = step if isinstance(step, Span) else Span("0" * 32, "", "s", 0, operation=step)
        place = {"start": number * 10, "end": number * 10 + 5, "parent_id": ROOT, "run_id": RUN, "sequence": number}
        spans.append(replace(span, span_id=f"{number:016x}", **place))
    last: dict[str, Any] = {"start": 0, "end": len(spans) * 10, "run_id": RUN, "sequence": len(spans), "failure": failure}
    return [*spans, Span("0" * 32, ROOT, "agent", operation=AgentInvocation("support"), **last)]


def cut_off(*steps: Operation | Span) -> list[Span]:
    """A run whose program died during its last step."""
    spans = run(*steps)
    return [*spans[:-2], *(replace(span, end=None, sequence=None) for span in spans[-2:])]


def step(operation: Operation, **fields: Any) -> Span:
    """A span with fields of its own. Ids and times are given by `run`."""
    return Span("0" * 32, "", "s", 0, operation=operation, **fields)


def failing(operation: Operation, kind: str = "ValueError") -> Span:
    return step(operation, failure=Failure(kind, CANARY))


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def assistant(*parts: Part | str) -> Message:
    return Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def call(name: str = "look_up", arguments: Any = None, call_id: str = "c1") -> ToolCall:
    return ToolCall(name, ARGUMENTS if arguments is None else arguments, call_id)


def infer(*parts: Part | str, request: tuple[Message, ...] | None = None, finish: str = "stop", **fields: Any) -> Inference:
    """A model call that is answered with these parts."""
    output = replace(assistant(*parts), finish_reason=finish)
    messages = (user(f"about {CANARY}"),) if request is None else request
    return Inference("openai", input=messages, output=(output,), finish_reasons=(finish,), **{"tools": TOOLS, **fields})


def execute(
    result: Any = CANARY, name: str = "look_up", arguments: Any = None, call_id: str | None = None, **definition: Any
) -> ToolExecution:
    """A tool that ran. ``definition``: what the tool declares (``changes``, ``polls``)."""
    declared = ToolDefinition(name, **definition) if definition else None
    given = ARGUMENTS if arguments is None else arguments
    return ToolExecution(name, given, result, has_result=True, call_id=call_id, definition=declared)


def read_back(status: Any, **fields: Any) -> ToolExecution:
    """A change that was read back. ``fields``: of its receipt."""
    return replace(execute("ok", "refund", changes=True), receipt=Receipt(status, **fields))


def result_of(call_: ToolCall, result: Any) -> tuple[Message, ...]:
    """A request that carries the result of a call."""
    return user(CANARY), assistant(call_), Message("tool", (ToolResult(result, call_.id),))


def violation(code: Any = "missing", pointer: str = "/q", **fields: Any) -> Violation:
    defaults: dict[str, Any] = {"tool": "look_up", "call_id": "c1", "got": CANARY}
    return Violation(code, pointer, "required", "it is missing", **(defaults | fields))


def evaluate(spans: list[Span], *laws: AnyLaw) -> list[Span]:
    """The spans as the live path leaves them. ``laws``: default, all."""
    evaluator = Evaluator(laws or None)
    state = evaluator.start()
    for span in spans:
        if isinstance(span.operation, AgentInvocation):
            state.timeline.begin(span)
    return [evaluator.step(state, span, outermost=span.parent_id is None) for span in spans]


def facts(law: AnyLaw, spans: list[Span]) -> list[tuple[str, Evaluation]]:
    """What one law states about the steps of a run, each with the id of its span."""
    judged = evaluate(spans, law)
    return [(span.span_id, fact) for span in judged for fact in span.evaluations if fact.confidence is None]


def findings(law: AnyLaw, spans: list[Span], *, is_alive: bool = False) -> list[Finding]:
    """What one law says of a run at its end. ``is_alive``: the program still runs. What the law raises is raised."""
    ended = [span for span in spans if span.end is not None]
    judged = {span.span_id: span for span in evaluate(ended, law)}
    alive = frozenset(span.span_id for span in spans) if is_alive else frozenset()
    trace = Trace([judged.get(span.span_id, span) for span in spans], alive=alive)
    return [finding for run_ in read_runs(trace) for finding in law.judge(run_)]


def under(operation: Operation, **bounds: float) -> Span:
    """A span under an objective; it takes 5 ns."""
    limits = {f"llmtrace.slo.{name}": seconds for name, seconds in bounds.items()}
    return step(operation, attributes={"llmtrace.slo.name": "look_up", **limits})


def confident(operation: Operation, *, mean: float = -0.2, tokens: int = 20, low: list[int] | None = None) -> Span:
    """A span of a call that asked for log-probabilities."""
    attributes: dict[str, Any] = {semconv.LOGPROB_MEAN: mean, semconv.LOGPROB_TOKENS: tokens}
    return step(operation, attributes=attributes if low is None else {**attributes, semconv.LOGPROB_LOW: low})


# -- the cases


@dataclass
class Cases:
    """What a law says, by label; what stands after a comma tells cases of one label apart."""

    facts: dict[str, list[Span]] = field(default_factory=dict)
    """Runs with a step about which the law states a fact."""
    findings: dict[str, tuple[Confidence, list[Span]]] = field(default_factory=dict)
    """Runs that the law judges, each with its confidence."""
    good: list[list[Span]] = field(default_factory=list)
    """Runs that look like the bad ones in some way, of which the law says nothing."""

    @property
    def bad(self) -> dict[str, list[Span]]:
        return {**self.facts, **{f"{label}, judged": spans for label, (_, spans) in self.findings.items()}}

    @property
    def runs(self) -> list[list[Span]]:
        return [*self.bad.values(), *self.good]


ERROR = {"error": f"no {CANARY}"}
DONE = f"Your refund of {CANARY} is on its way."
VALUES = f"{CANARY} costs 47.11 EUR."
PAGE = f"{CANARY} " + " ".join(f"word{chr(97 + n)}" for n in range(26))
CUT = f'{{"orders": [{{"id": "{CANARY}-1107"}}, {{"id": "{CANARY}-11'
UNEXPECTED = violation("unexpected", f"/{CANARY}", severity="warning")

VLLM = {"system_fingerprint": "vllm-0.32.0-0123abcd"}
REQUIRED: dict[str, Any] = {**VLLM, "parameters": {"tool_choice": "required"}}
NAMED: dict[str, Any] = {**VLLM, "parameters": {"tool_choice": {"type": "function", "function": {"name": "look_up"}}}}
STRICT = tuple(ToolDefinition(tool.name, tool.parameters, strict=True) for tool in TOOLS)
TYPED = tuple(
    ToolDefinition(name, {"type": "object", "properties": {"q": {"type": "integer"}}, "required": ["q"]}, changes=changes)
    for name, changes in (("refund", True), ("look_up", False))
)
MADE_UP = {"order_id": f"{CANARY}-20431"}

A, B, C = (execute(name=name, arguments={"q": CANARY, "n": 1}) for name in ("look_up", "search", "refund"))
REFUND = execute("ok", "refund", changes=True)
BREAKING = failing(ToolExecution("look_up", ARGUMENTS))


def ask(name: str = "look_up", arguments: Any = None, call_id: str = "c1", **fields: Any) -> Inference:
    """A model call that asks for one tool call, and is sent only the user's message."""
    return infer(call(name, arguments, call_id), finish="tool_calls", **fields)


def told(result: Any, *answer: Part | str, asked: ToolCall | None = None, **fields: Any) -> Inference:
    """A model call that is sent the result of one call, and answers."""
    return infer(*answer, request=result_of(asked or call(), result), **fields)


def typed(name: str, q: Any, call_id: str, **fields: Any) -> Inference:
    """A model call that asks for a tool whose argument is an integer."""
    return ask(name, {"q": q}, call_id, tools=TYPED, **fields)


def run_typed(name: str, q: Any, call_id: str, *, fails: bool = False) -> Span:
    tool = next(tool for tool in TYPED if tool.name == name)
    operation = ToolExecution(name, {"q": q}, None if fails else "ok", not fails, call_id, definition=tool)
    return failing(operation) if fails else step(operation)


def long_request(*first: Message) -> tuple[Message, ...]:
    return (*first, user("go"), assistant("one"), user(f"about {CANARY}"), assistant("two"), user("on"))


CASES: dict[str, Cases] = {
    "answer_without_evidence": Cases(
        findings={
            "no_lookup": ("possible", run(infer(VALUES))),
            "nothing_found": ("likely", run(ask(), execute([], call_id="c1"), told([], VALUES))),
            "nothing_found, failures": ("likely", run(ask(), execute(ERROR, call_id="c1"), told(ERROR, VALUES))),
        },
        good=[
            run(ask(), execute("47.11", call_id="c1"), told("47.11", VALUES)),
            run(ask(), execute([], call_id="c1"), told([], f"There is nothing about {CANARY}.")),
            run(ask("refund"), execute([], "refund", call_id="c1"), told([], VALUES, asked=call("refund"))),
            run(told(CANARY, VALUES)),
            run(infer(f"Hello! I am here to help with {CANARY}.")),
            run(infer("You asked about order 4711.", request=(user(f"{CANARY} 4711"),))),
            run(infer(VALUES, tools=())),
            run(infer(VALUES, previous_response_id="r1")),
            run(infer(ServerToolCall("web_search", {"q": CANARY})), infer(VALUES)),
            run(Retrieval("faq", CANARY, [{"content": CANARY}]), infer(VALUES)),
            run(infer("Which one?"), infer(VALUES, request=(user("go"), assistant("Which one?"), user(CANARY)))),
        ],
    ),
    "cut_result": Cases(
        findings={
            "used": (
                "certain",
                run(
                    ask(),
                    execute(CUT, call_id="c1"),
                    told(CUT, call("search", {"order_id": f"{CANARY}-1107"}, "c2")),
                    execute("sent", "search", {"order_id": f"{CANARY}-1107"}, "c2"),
                ),
            ),
            "cut": ("possible", run(ask(), execute(CUT, call_id="c1"), told(CUT, "I cannot read this."))),
        },
        good=[
            run(ask(), execute(f'{CUT}"}}]}}', call_id="c1"), told(CUT, CANARY)),
            run(ask(), execute(f'{{\n"{CANARY}": 1,\n', call_id="c1"), told(f'{{\n"{CANARY}": 1,\n', CANARY)),
            run(ask(), execute(CANARY, call_id="c1"), told(CANARY, CANARY)),
        ],
    ),
    "defective_output": Cases(
        facts={
            "empty": run(infer(" \n")),
            "reasoning_only": run(infer(Reasoning(CANARY))),
            "no_choice": run(step(Inference("openai", input=(user(CANARY),)), scope=Scope(SCOPE_NAME))),
            "cut": run(infer(f"It is {CANARY} and", finish="length")),
            "cut, reasoning": run(infer(Reasoning(CANARY), finish="length")),
            "cut, not recorded": run(Inference("openai", finish_reasons=("length",))),
            "cut_json": run(infer(f'{{"a": "{CANARY}', parameters=JSON, finish="length")),
            "cut_arguments": run(infer(call(arguments=f'{{"q": "{CANARY}'), finish="tool_calls")),
            "filtered": run(infer(CANARY, finish="content_filter")),
            "refused": run(infer(Generic("refusal", {"content": CANARY}))),
            "stream_cut": run(step(infer(f"It is {CANARY} and", partial=True), attributes={semconv.STREAM_CUT: True})),
        },
        findings={
            "empty": ("certain", run(infer(" \n"))),
            "reasoning_only": ("certain", run(infer(Reasoning(CANARY)))),
            "no_choice": ("certain", run(step(Inference("openai", input=(user(CANARY),)), scope=Scope(SCOPE_NAME)))),
            "cut": ("certain", run(infer(f"It is {CANARY} and", finish="length"))),
            "cut_json": ("certain", run(infer(f'{{"a": "{CANARY}', parameters=JSON, finish="length"))),
            "cut_arguments": ("certain", run(infer(call(arguments=f'{{"q": "{CANARY}'), finish="tool_calls"))),
            "filtered": ("certain", run(infer(CANARY, finish="content_filter"))),
            "refused": ("certain", run(infer(Generic("refusal", {"content": CANARY})))),
            "stream_cut": (
                "certain",
                run(step(infer(f"It is {CANARY} and", partial=True), attributes={semconv.STREAM_CUT: True})),
            ),
            "cut, before the last answer": ("possible", run(infer(f"It is {CANARY} and", finish="length"), infer(CANARY))),
            "empty, after a change": (
                "possible",
                run(ask("refund"), execute("ok", "refund", call_id="c1"), told("ok", "", asked=call("refund"))),
            ),
        },
        good=[
            run(infer(CANARY)),
            run(infer(call())),
            run(infer(call(arguments=f'{{"q": {CANARY}}}'), finish="tool_calls")),
            run(infer(CANARY, partial=True)),
            run(infer(f'{{"a": "{CANARY}', partial=True, parameters=JSON)),
            run(failing(infer(), "timeout")),
            run(infer(status="in_progress")),
            run(Inference("openai", input=(user(CANARY),))),
            run(Inference("openai", input=(user(CANARY),), finish_reasons=("stop",))),
            run(Inference("openai")),
            run(infer(PAGE * 3)),
        ],
    ),
    "duplicated_effect": Cases(
        findings={
            "made_twice": ("certain", run(REFUND, execute(), REFUND)),
            "made_twice, undeclared": ("possible", run(*[execute("ok", "refund", {"order_id": CANARY})] * 2)),
            "made_twice, undeclared loop": ("certain", run(*[execute("ok", "refund", {"order_id": "W1"})] * 3)),
        },
        good=[
            run(REFUND, execute("ok", "refund", {"q": 2}, changes=True)),
            run(execute(ERROR, "refund", changes=True), REFUND),
            run(*[execute("ok", "refund", changes=False)] * 2),
            run(*[execute("ok", "refund", polls=True, changes=True)] * 2),
            run(execute(), execute()),
            run(infer(CANARY), REFUND, infer(CANARY, request=(user("another one"),)), REFUND),
            run(infer(call("refund", call_id="c1")), REFUND),
        ],
    ),
    "empty_result": Cases(
        facts={
            "empty": run(Retrieval("faq", CANARY, [])),
            "empty, memory": run(Memory("search_memory", query=CANARY, records=[])),
        },
        findings={"empty": ("possible", run(ask(), execute([], call_id="c1"), told([], f"There is no {CANARY}.")))},
        good=[
            run(Retrieval("faq", CANARY, [{"content": CANARY, "score": 0.1}])),
            run(Retrieval("faq", CANARY), Memory("create_memory", records=[])),
            run(failing(Retrieval("faq", CANARY, []))),
            run(ask("refund"), execute([], "refund", call_id="c1"), told([], CANARY, asked=call("refund"))),
            run(ask(), execute(ERROR, call_id="c1"), told(ERROR, CANARY)),
        ],
    ),
    "end_state": Cases(
        findings={
            "error": ("certain", run(ask(), failing(infer()))),
            "error, of the program": ("certain", run(infer(CANARY), failure=Failure("KeyError", CANARY))),
            "error, the run went on": ("possible", run(failing(infer()), infer(CANARY))),
            "timeout": ("certain", run(ask(), failing(infer(), "httpx.ReadTimeout"))),
            "cancelled": ("certain", run(infer(CANARY), failure=Failure("asyncio.exceptions.CancelledError"))),
            "cancelled, Ctrl-C": ("certain", run(infer(CANARY), failure=Failure("KeyboardInterrupt"))),
            "limit": ("certain", run(infer(CANARY), failure=Failure("agents.MaxTurnsExceeded", CANARY))),
            "budget": ("certain", run(infer(CANARY), failure=Failure("llmtrace.errors.BudgetExceeded", "it is spent"))),
            "budget_exceeded": (
                "possible",
                run(step(infer(CANARY), evaluations=(Evaluation("budget_exceeded", "info", "5 of 4 calls", "calls"),))),
            ),
            "replay_diverged": ("certain", run(failing(infer(), "llmtrace.errors.ReplayDiverged"))),
            "interrupted": ("certain", cut_off(infer(CANARY), execute())),
            "waited": ("certain", cut_off(infer(CANARY), Review("refund", tool="refund", call_id="c1"))),
        },
        good=[
            run(ask(), execute("found", call_id="c1"), told("found", CANARY)),
            run(infer(CANARY, tools=())),
            run(ask(), failing(ToolExecution("look_up", ARGUMENTS, call_id="c1")), told(ERROR, CANARY)),
        ],
    ),
    "failed_tool": Cases(
        facts={
            "raised": run(ask(), failing(ToolExecution("look_up", ARGUMENTS, call_id="c1"))),
            "error_result": run(ask(), execute(ERROR, call_id="c1")),
            "error_result, told": run(ask(), told(ERROR, CANARY)),
        },
        findings={
            "never_succeeded": ("certain", run(ask(), execute(ERROR, call_id="c1"), told(ERROR, DONE))),
            "never_succeeded, raised": (
                "certain",
                run(ask(), failing(ToolExecution("look_up", ARGUMENTS, call_id="c1")), told(ERROR, DONE)),
            ),
            "never_succeeded, change": (
                "certain",
                run(
                    ask("refund"),
                    execute(ERROR, "refund", call_id="c1"),
                    execute("a depot", "search", {"q": "else"}),
                    told(ERROR, DONE, asked=call("refund")),
                ),
            ),
            "never_succeeded, told only": ("certain", run(ask(), told(ERROR, DONE))),
            "never_succeeded, worked around": (
                "possible",
                run(
                    ask(),
                    execute(ERROR, call_id="c1"),
                    *[execute("found", "search", {"q": number}) for number in range(5)],
                    told(ERROR, CANARY),
                ),
            ),
            "never_succeeded, no answer": ("possible", run(ask(), execute(ERROR, call_id="c1"))),
            "failed_then_succeeded": (
                "possible",
                run(
                    ask(),
                    execute(ERROR, call_id="c1"),
                    told(ERROR, call(call_id="c2")),
                    execute("found", call_id="c2"),
                    infer(CANARY),
                ),
            ),
            "not_approved": (
                "certain",
                run(
                    ask("refund"),
                    Review("refund", tool="refund", call_id="c1", payload=ARGUMENTS, decision="rejected"),
                    ToolExecution("refund", ARGUMENTS, call_id="c1", executed=False),
                    told("rejected", DONE, asked=call("refund")),
                ),
            ),
        },
        good=[
            run(ask(), execute(call_id="c1"), told(CANARY, DONE)),
            run(ask("refund"), execute("ok", "refund", call_id="c1"), told("ok", DONE, asked=call("refund"))),
            run(
                ask("refund"),
                Review("refund", tool="refund", call_id="c1", payload=ARGUMENTS, decision="rejected"),
                ToolExecution("refund", ARGUMENTS, call_id="c1", executed=False),
                told("rejected", f"I could not refund {CANARY}: it was rejected.", asked=call("refund")),
            ),
        ],
    ),
    "invalid_tool_call": Cases(
        facts={
            "missing": run(step(ask(), violations=(violation(choice=0),)), step(execute(), violations=(violation(),))),
            "wrong_type": run(step(ask(), violations=(UNEXPECTED, violation("wrong_type")))),
            "unexpected": run(step(execute(), violations=(UNEXPECTED,))),
            "unknown_tool": run(step(ask(CANARY), violations=(violation("unknown_tool", "", tool=CANARY),))),
        },
        findings={
            "ran": ("certain", run(typed("refund", CANARY, "c1"), run_typed("refund", CANARY, "c1"), infer(DONE))),
            "never_right": (
                "certain",
                run(typed("look_up", CANARY, "c1"), run_typed("look_up", CANARY, "c1", fails=True), infer(DONE)),
            ),
            "corrected": (
                "possible",
                run(
                    typed("look_up", CANARY, "c1"),
                    run_typed("look_up", CANARY, "c1", fails=True),
                    typed("look_up", 1, "c2"),
                    run_typed("look_up", 1, "c2"),
                    infer(DONE),
                ),
            ),
            "corrected, a lookup answered": (
                "possible",
                run(typed("look_up", CANARY, "c1"), run_typed("look_up", CANARY, "c1"), infer(DONE)),
            ),
            "unknown_tool": ("certain", run(ask(CANARY), told("no such tool", DONE, asked=call(CANARY)))),
        },
        good=[
            run(typed("refund", 1, "c1"), run_typed("refund", 1, "c1"), infer(DONE)),
            run(ask(), execute()),
            run(step(ask(), violations=(violation("schema", "", severity="warning"),))),
            run(step(infer("{}"), violations=(violation(where="output"),))),
        ],
    ),
    "leaked_tool_call": Cases(
        facts={
            "syntax": run(infer(f'<tool_call>\n{{"name": "look_up", "arguments": {{"q": "{CANARY}"}}}}\n</tool_call>')),
            "syntax, code": run(infer(f'look_up(q="{CANARY}")')),
            "syntax, JSON": run(infer(f'```json\n{{"name": "look_up", "arguments": {{"q": "{CANARY}"}}}}\n```')),
            "syntax, qualified": run(infer(f'to=functions.look_up {{"q": "{CANARY}"}}')),
            "missing_call": run(infer(f"I will look {CANARY} up.", finish="tool_calls")),
            "control_token": run(infer(f"{CANARY} it is.<|im_end|>")),
        },
        findings={
            "syntax": (
                "certain",
                run(infer(f'<tool_call>{{"name": "look_up", "arguments": {{"q": "{CANARY}"}}}}</tool_call>')),
            ),
            "missing_call": ("possible", run(infer(f"I will look {CANARY} up.", finish="tool_calls"))),
            "control_token": ("possible", run(infer(f"{CANARY} it is.<|im_end|>"))),
        },
        good=[
            run(infer(call(), finish="tool_calls")),
            run(infer(f'<tool_call>{{"name": "look_up"}} {CANARY}', tools=())),
            run(infer(f"Calls are written as `<tool_call>`, for example of look_up. {CANARY}")),
            run(infer(f"A <tool_call> of look_up it is, {CANARY}.", request=(user("What is a <tool_call>?"),))),
            run(infer(f'```json\n{{"name": "{CANARY}", "arguments": {{}}}}\n```')),
            run(infer(f"I will search (look_up is slow) for {CANARY}.")),
            run(infer(partial=True, finish="tool_calls")),
            run(infer(f"A turn ends with `<|im_end|>`, {CANARY}.")),
            run(infer(f"It ends with <|im_end|>, {CANARY}.", request=(user("What does <|im_end|> do?"),))),
            run(infer(f"<s>{CANARY}</s> is struck through.")),
        ],
    ),
    "lost_context": Cases(
        findings={
            "messages": (
                "possible",
                run(infer("three", request=long_request()), infer("four", request=(assistant("three"), user("and?")))),
            ),
            "system": (
                "possible",
                run(
                    infer("one", request=(Message("system", (Text(CANARY),)), user("go"))),
                    infer("two", request=(user("go"), assistant("one"), user("go on"))),
                ),
            ),
            "looked_up_again": (
                "likely",
                run(
                    ask(),
                    execute(call_id="c1"),
                    told(CANARY, call("search", {"q": 2}, "c2")),
                    execute("found", "search", {"q": 2}, "c2"),
                    infer(
                        call(call_id="c3"),
                        request=(assistant(call("search", {"q": 2}, "c2")), Message("tool", (ToolResult("found", "c2"),))),
                    ),
                    execute(call_id="c3"),
                ),
            ),
            "made_up_again": (
                "likely",
                run(
                    infer("three", request=long_request(user("My order is KS-20418."))),
                    infer(call("refund", MADE_UP), request=(assistant("three"), user("Refund it."))),
                ),
            ),
        },
        good=[
            run(infer(CANARY, request=(user("go"),)), infer("on", request=(user("go"), assistant(CANARY), user("go on")))),
            run(infer("two", request=(user("go"), assistant("one"), user(CANARY))), infer("x", request=(user("else"),))),
            run(infer(CANARY, request=(Message("system", (Text("a"),)), user("go"))), infer("on", request=(user("go"),))),
            run(ask(request=(user("go"),)), infer("on", request=(user("go"), *result_of(call(), CANARY)[1:]))),
            run(
                infer(CANARY, request=long_request()),
                infer("on", request=(assistant(CANARY),), previous_response_id="r1"),
            ),
            run(
                infer(CANARY, request=long_request(Message("system", (Text("a"),)))),
                infer("on", request=(Message("system", (Text("judge"),)), assistant(CANARY), user("fine?"))),
            ),
            run(
                infer("two", request=(user("go"), assistant("one"), user(CANARY))),
                infer("x", request=(user("go"), assistant("two"))),
            ),
        ],
    ),
    "low_confidence": Cases(
        facts={
            "answer": run(confident(infer(f"It is {CANARY} of course."), mean=-2.0)),
            "stretch": run(confident(infer(f"It is {CANARY}."), low=[0, 6, 6 + len(CANARY)])),
        },
        findings={"answer": ("possible", run(confident(infer(f"It is {CANARY} of course."), mean=-2.0)))},
        good=[
            run(infer(f"It is {CANARY}.")),
            run(confident(infer(f"It is {CANARY}."))),
            run(confident(infer(CANARY), mean=-2.0, tokens=3)),
        ],
    ),
    "malformed_output": Cases(
        facts={
            "not_json": run(infer(f"It is {CANARY}.", parameters=JSON)),
            "not_an_object": run(infer(f'["{CANARY}"]', parameters=JSON)),
            "fenced": run(infer(f'```json\n{{"a": "{CANARY}"}}\n```', parameters=JSON)),
            "wrapped": run(infer(f'Here it is: {{"a": "{CANARY}"}}. Enjoy!', parameters=JSON)),
            "schema": run(
                step(infer(f'{{"a": "{CANARY}"}}', parameters=JSON), violations=(violation(where="output", choice=0),))
            ),
        },
        findings={
            "not_json": ("possible", run(infer(f"It is {CANARY}.", parameters=JSON))),
            "not_an_object": ("possible", run(infer(f'["{CANARY}"]', parameters=JSON))),
            "fenced": ("possible", run(infer(f'```json\n{{"a": "{CANARY}"}}\n```', parameters=JSON))),
            "wrapped": ("possible", run(infer(f'Here it is: {{"a": "{CANARY}"}}. Enjoy!', parameters=JSON))),
        },
        good=[
            run(infer(f'{{"a": "{CANARY}"}}', parameters=JSON)),
            run(infer(f'["{CANARY}"]', parameters={"response_format": {"type": "json_schema"}})),
            run(infer(f"It is {CANARY}.")),
            run(infer(f"I look {CANARY} up.", call(), parameters=JSON)),
            run(infer(Generic("refusal", {"content": CANARY}), f"I will not {CANARY}.", parameters=JSON)),
            run(infer(f'{{"a": "{CANARY}', parameters=JSON, finish="length")),
            run(infer(f'{{"a": "{CANARY}', parameters=JSON, partial=True)),
        ],
    ),
    "refusal": Cases(
        facts={
            "provider": run(infer(Generic("refusal", {"content": CANARY}))),
            "words": run(infer(f"I'm sorry, but I can't help with {CANARY}.")),
        },
        good=[
            run(infer(f"I could not find {CANARY}.")),
            run(infer(f"I can't help with {CANARY}.", call())),
            run(infer(f"{PAGE * 8} I can't help with that.")),
        ],
    ),
    "repeated_call": Cases(
        findings={
            "same_result, twice": (
                "possible",
                run(ask(), execute(call_id="c1"), told(CANARY, call(call_id="c2")), execute(call_id="c2")),
            ),
            "same_result": ("certain", run(execute(), execute(name="search"), execute(), execute())),
            "same_result, failures": ("certain", run(*[BREAKING] * 3)),
            "same_result, after another": ("certain", run(execute("none yet"), *[execute()] * 3)),
            "same_result, after a failure": ("certain", run(BREAKING, *[execute()] * 3)),
            "same_result, until it changed": ("possible", run(*[execute()] * 3, execute("another"))),
            "same_result, as with a shell": (
                "likely",
                run(
                    *[
                        part
                        for number in range(3)
                        for part in (failing(ToolExecution("shell", ARGUMENTS)), execute("ok", "shell", {"q": number}))
                    ]
                ),
            ),
            "same_result, after a change each": (
                "possible",
                run(*[part for n in range(3) for part in (BREAKING, execute("ok", "refund", {"n": n}, changes=True))]),
            ),
            "cycle": ("certain", run(*[A, B] * 3)),
            "cycle, of four": ("certain", run(*[A, B, C, execute(name="refund")] * 3)),
            "same_error": ("certain", run(*[failing(ToolExecution("look_up", {"q": number})) for number in range(3)])),
            "same_error, twice": ("possible", run(*[failing(ToolExecution("look_up", {"q": number})) for number in range(2)])),
            "same_error, then right": (
                "likely",
                run(*[failing(ToolExecution("look_up", {"q": number})) for number in range(3)], execute()),
            ),
        },
        good=[
            run(execute(), execute(arguments={"q": CANARY, "page": 2}), execute(name="search")),
            run(execute(ERROR), execute(arguments={"q": 2})),
            run(ToolExecution("look_up"), ToolExecution("look_up")),
            run(*[execute(polls=True)] * 5),
            run(*[execute(name="get_job_status")] * 5),
            run(infer(CANARY), execute(), infer(CANARY, request=(user("again"),)), execute()),
            run(infer(*[call(call_id=f"c{number}") for number in range(3)]), *[execute(call_id=f"c{n}") for n in range(3)]),
        ],
    ),
    "served_call": Cases(
        facts={
            "unenforced": run(step(infer(call(), **REQUIRED, finish="tool_call"), violations=(violation(),))),
            "named_stop": run(infer(call(), **NAMED)),
            "dropped": run(infer(f'<tool_call>{{"name": "look_up"}}</tool_call><tool_call>{{"{CANARY}</tool_call>')),
            "stream_differs": run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), stream=True, **REQUIRED, finish="tool_call")),
            "stream_differs, left": run(infer(f'<tool_call>{{"name": "{CANARY}"}}</tool_call>', stream=True, **REQUIRED)),
        },
        findings={
            "dropped": (
                "possible",
                run(infer(f'<tool_call>{{"name": "look_up"}}</tool_call><tool_call>{{"{CANARY}</tool_call>')),
            ),
        },
        good=[
            run(infer(call(), **REQUIRED, finish="tool_call")),
            run(step(infer(call(), parameters=REQUIRED["parameters"], finish="tool_call"), violations=(violation(),))),
            run(step(infer(call(), **{**REQUIRED, "tools": STRICT}, finish="tool_call"), violations=(violation(),))),
            run(infer(call(), **NAMED, finish="tool_call")),
            run(infer(call(), stream=True, **REQUIRED, finish="tool_call")),
            run(infer(call(arguments=f'["{CANARY}"]'), stream=True, **{**REQUIRED, "tools": STRICT}, finish="tool_call")),
            run(infer(call(arguments=f'{{"q": "{CANARY}'), stream=True, **{**REQUIRED, "tools": STRICT}, finish="length")),
            run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), **{**REQUIRED, "tools": STRICT}, finish="tool_call")),
            run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), stream=True, finish="tool_call")),
            run(infer(f'<tool_call>{{"name": "{CANARY}"}}</tool_call>')),
        ],
    ),
    "slo": Cases(
        facts={
            **{share: run(under(execute(), **{share: 4e-9})) for share in ("p50", "p95", "p99")},
            "ttft": run(under(infer("x", time_to_first_chunk=0.5), time_to_first_token=0.4)),
        },
        findings={"p99": ("possible", run(under(execute(), p99=4e-9)))},
        good=[
            run(under(execute(), p99=5e-9), infer("x", time_to_first_chunk=9.0)),
            run(under(infer("x"), time_to_first_token=1e-9)),
            run(under(infer("x", time_to_first_chunk=0.5), time_to_first_token=0.5)),
        ],
    ),
    "unconfirmed_change": Cases(
        facts={status: run(read_back(status)) for status in ("missing", "different", "doubled")},
        findings={
            "missing": ("certain", run(read_back("missing"), infer("It is done."))),
            "missing, after all": ("possible", run(read_back("missing"), read_back("confirmed"))),
            "different": ("certain", run(read_back("different", pointer="/q", record={"q": CANARY}))),
            "different, from the result": ("possible", run(read_back("different", pointer="/id", of="result"))),
            "doubled": ("certain", run(read_back("doubled", records=2))),
        },
        good=[
            run(read_back("confirmed", record={"q": CANARY})),
            run(read_back("unknown", error="timeout", seen="missing", note=CANARY)),
            run(read_back("pending", seen="missing", record={"q": CANARY})),
            run(execute("ok", "refund", changes=True)),
        ],
    ),
    "ungrounded_argument": Cases(
        facts={"made_up": run(ask("get_order", MADE_UP))},
        findings={
            "in_change": ("likely", run(ask("refund", MADE_UP), execute("ok", "refund", MADE_UP, "c1"), infer(CANARY))),
            "in_change, at the second try": (
                "likely",
                run(
                    ask("refund", MADE_UP),
                    execute(ERROR, "refund", MADE_UP, "c1"),
                    told(ERROR, call("refund", MADE_UP, "c2"), asked=call("refund", MADE_UP)),
                    execute("ok", "refund", MADE_UP, "c2"),
                    infer(CANARY),
                ),
            ),
            "made_up, then named by the user": (
                "possible",
                run(
                    ask("look_up", MADE_UP),
                    execute(ERROR, "look_up", MADE_UP, "c1"),
                    told(ERROR, "Which order?", asked=call("look_up", MADE_UP)),
                    infer(
                        call("refund", MADE_UP, "c2"),
                        request=(
                            *result_of(call("look_up", MADE_UP), ERROR),
                            assistant("Which order?"),
                            user(f"{CANARY}-20431"),
                        ),
                    ),
                    execute("ok", "refund", MADE_UP, "c2"),
                    infer(CANARY),
                ),
            ),
            "made_up": ("possible", run(ask("get_order", MADE_UP), execute("sent", "get_order", MADE_UP, "c1"), infer(CANARY))),
            "made_up, approved": (
                "possible",
                run(
                    ask("refund", MADE_UP),
                    Review("refund", tool="refund", call_id="c1", payload=MADE_UP, decision="approved"),
                    execute("ok", "refund", MADE_UP, "c1"),
                    infer(CANARY),
                ),
            ),
            "made_up, failed": (
                "possible",
                run(ask("refund", MADE_UP), execute(ERROR, "refund", MADE_UP, "c1"), infer(CANARY)),
            ),
            "in_answer": ("possible", run(infer(f"Your order is {CANARY}-20431."))),
        },
        good=[
            run(ask("refund", {"order_id": "KS-20431"}, request=(user(f"Refund KS-20431, {CANARY}"),))),
            run(ask("refund", MADE_UP, previous_response_id="r1")),
            run(ask("refund", {"amount": 17.35, "day": "2031-05-17", "why": f"my {CANARY} leaks"})),
        ],
    ),
}
