"""For every quality signal: runs on which it fires, by label, and runs on which it must not. All their content holds CANARY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmtrace import semconv
from llmtrace.lineage.tasks import Tasks
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Evaluation,
    Failure,
    Generic,
    Inference,
    Memory,
    Message,
    Operation,
    Part,
    Reasoning,
    Retrieval,
    ServerToolCall,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Usage,
    Violation,
    replace,
)
from llmtrace.signals import Signal
from llmtrace.signals._untraced import Untraced

CANARY = "xk7canary"
ROOT = "f" * 16
RUN = "a" * 32
TOOLS = tuple(ToolDefinition(name, {"type": "object"}) for name in ("look_up", "refund", "search"))
JSON = {"response_format": {"type": "json_object"}}
ARGUMENTS = {"q": CANARY}


def span(operation: Operation, number: int, **fields: Any) -> Span:
    times = {"start": number * 10, "end": number * 10 + 5}
    return Span("0" * 32, f"{number:016x}", "s", **(times | {"parent_id": ROOT, "operation": operation} | fields))


def run(*steps: Operation | Span, outermost: bool = True) -> list[Span]:
    """Spans of one run in the order of ending; the outermost one last."""
    spans = [
        _placed(step, number) if isinstance(step, Span) else span(step, number, run_id=RUN, sequence=number)
        for number, step in enumerate(steps)
    ]
    if outermost:
        last = {"start": 0, "end": len(spans) * 10, "parent_id": None, "run_id": RUN, "sequence": len(spans)}
        spans.append(Span("0" * 32, ROOT, "agent", operation=AgentInvocation("support"), **last))  # type: ignore[arg-type]
    return spans


def _placed(step: Span, number: int) -> Span:
    return span(
        step.operation,
        number,
        run_id=RUN,
        sequence=number,
        failure=step.failure,
        violations=step.violations,
        attributes=step.attributes,
    )


def under(operation: Operation, **bounds: float) -> Span:
    """A span under an objective; it takes 5 ns."""
    attributes = {"llmtrace.slo.name": "look_up", **{f"llmtrace.slo.{name}": seconds for name, seconds in bounds.items()}}
    return span(operation, 0, attributes=attributes)


def broken(operation: Operation, *violations: Violation, failure: Failure | None = None) -> Span:
    """A span as validation leaves it. Ids and times are given by `run`."""
    return span(operation, 0, violations=violations, failure=failure)


def says(text: str) -> tuple[Message, ...]:
    return (Message("user", (Text(text),)),)


def infer(*parts: Part | str, asked: tuple[Message, ...] | None = None, finish: str = "stop", **fields: Any) -> Inference:
    output = tuple(Text(part) if isinstance(part, str) else part for part in parts)
    return Inference(
        "openai",
        input=says(f"about {CANARY}") if asked is None else asked,
        output=(Message("assistant", output, finish_reason=finish),),
        finish_reasons=(finish,),
        **{"tools": TOOLS, **fields},
    )


def call(name: str = "look_up", arguments: Any = None, call_id: str = "c1") -> ToolCall:
    return ToolCall(name, ARGUMENTS if arguments is None else arguments, call_id)


def ran(
    result: Any = CANARY, name: str = "look_up", arguments: Any = None, call_id: str | None = "c1", **declared: Any
) -> ToolExecution:
    """``declared``: what the tool's definition says (``changes``, ``polls``)."""
    definition = ToolDefinition(name, **declared) if declared else None
    given = ARGUMENTS if arguments is None else arguments
    return ToolExecution(name, given, result, has_result=True, call_id=call_id, definition=definition)


def searched(*scores: float, source: str = "faq") -> Retrieval:
    return Retrieval(source, CANARY, [{"content": CANARY, "score": score} for score in scores])


def sent(*messages: Message) -> Inference:
    """A model call with this request, answered in one word."""
    return infer(CANARY, asked=messages)


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def assistant(*parts: Part | str) -> Message:
    return Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def failing(operation: Operation, kind: str = "ValueError") -> Span:
    return broken(operation, failure=Failure(kind, CANARY))


def told(result: Any, *, call_id: str = "c1", name: str = "look_up") -> tuple[Message, ...]:
    """A request that carries the result of a call."""
    return (
        *says(CANARY),
        Message("assistant", (call(name, call_id=call_id),)),
        Message("tool", (ToolResult(result, call_id),)),
    )


def violation(code: Any = "missing", pointer: str = "/q", **fields: Any) -> Violation:
    told_apart: dict[str, Any] = {"tool": "look_up", "call_id": "c1", "got": CANARY}
    return Violation(code, pointer, "required", "it is missing", **(told_apart | fields))


def found(signal: Signal, spans: list[Span]) -> list[tuple[str, Evaluation]]:
    """What one signal finds on a run, with the id of the span it is on."""
    state, untraced, tasks = signal.start(), Untraced(), Tasks()
    evaluations: list[tuple[str, Evaluation]] = []
    for one in spans:
        if isinstance(one.operation, ToolExecution):
            tasks.executed(one.operation)
        elif isinstance(one.operation, Inference) and tasks.asked(one, one.operation) and getattr(signal, "per_task", False):
            state = signal.start()
        executions = untraced.seen(one) if getattr(signal, "untraced", False) else ()
        evaluations += [(one.span_id, evaluation) for each in (*executions, one) for evaluation in signal.step(state, each)]
    finish = getattr(signal, "finish", None)
    return [*evaluations, *((spans[-1].span_id, evaluation) for evaluation in (finish(state) if finish else ()))]


@dataclass
class Cases:
    bad: dict[str, list[Span]]
    good: list[list[Span]]


def sure(operation: Operation, *, mean: float = -0.2, tokens: int = 20, low: list[int] | None = None) -> Span:
    """A span of a call that asked for log-probabilities."""
    told_apart = {semconv.LOGPROB_MEAN: mean, semconv.LOGPROB_MIN: 3 * mean, semconv.LOGPROB_TOKENS: tokens}
    return span(operation, 0, attributes=told_apart if low is None else {**told_apart, semconv.LOGPROB_LOW: low})


FINGERPRINT = {"system_fingerprint": "vllm-0.32.0-0123abcd"}
SERVED: dict[str, Any] = {**FINGERPRINT, "parameters": {"tool_choice": "required"}}
NAMED: dict[str, Any] = {
    **FINGERPRINT,
    "parameters": {"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
}
STRICT = tuple(ToolDefinition(tool.name, tool.parameters, strict=True) for tool in TOOLS)
ERROR = {"error": f"no {CANARY}"}
DONE = f"Your refund of {CANARY} is on its way."
ADMITS = f"I could not refund {CANARY}."
UNEXPECTED = violation("unexpected", f"/{CANARY}", severity="warning")
REFUSED = Failure("invalid_tool_call", CANARY)

PAGE = f"{CANARY} " + " ".join(f"word{chr(97 + n)}" for n in range(26))
LONG = f"I have looked at everything about {CANARY} that there is, and will now begin with the first of the five steps."

CASES: dict[str, Cases] = {
    "invalid_tool_call": Cases(
        bad={
            "missing": run(broken(infer(call()), violation(choice=0)), broken(ran(), violation())),
            "wrong_type": run(
                broken(infer(call()), violation("unexpected", f"/{CANARY}", severity="warning"), violation("wrong_type"))
            ),
            "unexpected": run(broken(ran(), UNEXPECTED)),
            "unknown_tool": run(broken(infer(call(CANARY)), violation("unknown_tool", "", tool=CANARY))),
        },
        good=[
            run(infer(call()), ran()),
            run(broken(infer(call()), violation("schema", "", severity="warning"))),
            run(broken(infer("{}"), violation(where="output"))),
        ],
    ),
    "malformed_output": Cases(
        bad={
            "not_json": run(infer(f"It is {CANARY}.", parameters=JSON)),
            "not_an_object": run(infer(f'["{CANARY}"]', parameters=JSON)),
            "fenced": run(infer(f'```json\n{{"a": "{CANARY}"}}\n```', parameters=JSON)),
            "wrapped": run(infer(f'Here it is: {{"a": "{CANARY}"}}. Enjoy!', parameters=JSON)),
            "schema": run(broken(infer(f'{{"a": "{CANARY}"}}', parameters=JSON), violation(where="output", choice=0))),
            "control_token": run(infer(f"{CANARY} it is.<|im_end|>")),
        },
        good=[
            run(infer(f'{{"a": "{CANARY}"}}', parameters=JSON)),
            run(infer(f'["{CANARY}"]', parameters={"response_format": {"type": "json_schema"}})),
            run(infer(f"It is {CANARY}.")),
            run(infer(f"I look {CANARY} up.", call(), parameters=JSON)),
            run(infer(Generic("refusal", {"content": CANARY}), f"I will not {CANARY}.", parameters=JSON)),
            run(infer(f'{{"a": "{CANARY}', parameters=JSON, finish="length")),
            run(infer(f'{{"a": "{CANARY}', parameters=JSON, partial=True)),
            run(infer(f"A turn ends with `<|im_end|>`, {CANARY}.")),
            run(infer(f"It ends with <|im_end|>, {CANARY}.", asked=says("What does <|im_end|> do?"))),
            run(infer(f"<s>{CANARY}</s> is struck through.")),
        ],
    ),
    "truncated_output": Cases(
        bad={
            "length": run(infer(f"It is {CANARY} and", finish="length")),
            "cut_json": run(infer(f'{{"a": "{CANARY}', parameters=JSON, finish="length")),
            "cut_arguments": run(infer(call(arguments=f'{{"q": "{CANARY}'), finish="tool_calls")),
            "content_filter": run(infer(CANARY, finish="content_filter")),
        },
        good=[
            run(infer(f"It is {CANARY}.")),
            run(infer(call(arguments=f'{{"q": {CANARY}}}'), finish="tool_calls")),
            run(infer(f'{{"a": "{CANARY}', partial=True, parameters=JSON)),
        ],
    ),
    "empty_output": Cases(
        bad={
            "empty": run(infer(" \n")),
            "reasoning_only": run(infer(Reasoning(CANARY), finish="length")),
            "no_choice": run(Inference("openai", input=says(CANARY))),
        },
        good=[
            run(infer(CANARY)),
            run(infer(call())),
            run(infer(Generic("refusal", {"content": CANARY}))),
            run(infer(partial=True)),
            run(infer(finish="content_filter")),
            run(broken(infer(), failure=Failure("timeout"))),
            run(Inference("openai", input=says(CANARY), finish_reasons=("stop",))),
            run(Inference("openai")),
        ],
    ),
    "low_confidence": Cases(
        bad={
            "answer": run(sure(infer(f"It is {CANARY} of course."), mean=-2.0)),
            "stretch": run(sure(infer(f"It is {CANARY}."), low=[0, 6, 6 + len(CANARY)])),
        },
        good=[
            run(infer(f"It is {CANARY}.")),
            run(sure(infer(f"It is {CANARY}."))),
            run(sure(infer(CANARY), mean=-2.0, tokens=3)),
        ],
    ),
    "served_call": Cases(
        bad={
            "unenforced": run(broken(infer(call(), **SERVED, finish="tool_call"), violation())),
            "named_stop": run(infer(call(), **NAMED)),
            "dropped": run(infer(f'<tool_call>{{"name": "look_up"}}</tool_call><tool_call>{{"{CANARY}</tool_call>')),
            "stream_differs": run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), stream=True, **SERVED, finish="tool_call")),
            "stream_differs, left": run(infer(f'<tool_call>{{"name": "{CANARY}"}}</tool_call>', stream=True, **SERVED)),
        },
        good=[
            run(infer(call(), **SERVED, finish="tool_call")),
            run(broken(infer(call(), parameters=SERVED["parameters"], finish="tool_call"), violation())),
            run(broken(infer(call(), **{**SERVED, "tools": STRICT}, finish="tool_call"), violation())),
            run(infer(call(), **NAMED, finish="tool_call")),
            run(infer(call(), stream=True, **SERVED, finish="tool_call")),
            run(infer(call(arguments=f'["{CANARY}"]'), stream=True, **SERVED, finish="tool_call")),
            run(infer(call(arguments=f'{{"q": "{CANARY}'), stream=True, **SERVED, finish="length")),
            run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), **SERVED, finish="tool_call")),
            run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), stream=True, finish="tool_call")),
            run(infer(f'<tool_call>{{"name": "{CANARY}"}}</tool_call>')),
        ],
    ),
    "leaked_tool_call": Cases(
        bad={
            "syntax": run(infer(f'<tool_call>\n{{"name": "look_up", "arguments": {{"q": "{CANARY}"}}}}\n</tool_call>')),
            "missing_call": run(infer(f"I will look {CANARY} up.", finish="tool_calls")),
        },
        good=[
            run(infer(call(), finish="tool_calls")),
            run(infer(f'<tool_call>{{"name": "look_up"}} {CANARY}', tools=())),
            run(infer(f"Calls are written as `<tool_call>`, for example of look_up. {CANARY}")),
            run(infer(f"A <tool_call> of look_up it is, {CANARY}.", asked=says("What is a <tool_call>?"))),
            run(infer(f'```json\n{{"name": "{CANARY}", "arguments": {{}}}}\n```')),
            run(infer(f"I will search (look_up is slow) for {CANARY}.")),
            run(infer(partial=True, finish="tool_calls")),
        ],
    ),
    "repeated_call": Cases(
        bad={
            "repeat": run(ran(), ran("else", "search"), ran(call_id="c2")),
            "retry": run(ran(ERROR), ran(ERROR, call_id="c2"), ran(ERROR, call_id="c3")),
        },
        good=[
            run(ran(), ran(arguments={"q": CANARY, "page": 2}), ran(name="search")),
            run(ran({"state": "pending"}), ran({"state": CANARY})),
            run(ran(ERROR), ran(call_id="c2")),
            run(ToolExecution("look_up"), ToolExecution("look_up")),
            run(ran(polls=True), ran(polls=True)),
        ],
    ),
    "failed_tool_ignored": Cases(
        bad={
            "answered": run(ran(ERROR), infer(DONE, asked=told(ERROR))),
            "went_on": run(
                ran(ERROR),
                infer(call("refund", call_id="c2"), asked=told(ERROR)),
                ran("done", "refund", call_id="c2"),
                infer(DONE, asked=told("done", call_id="c2", name="refund")),
            ),
        },
        good=[
            run(ran(), infer(DONE, asked=told(CANARY))),
            run(ran(ERROR), infer(ADMITS, asked=told(ERROR))),
            run(ran(ERROR), infer(f"What is the number of {CANARY}?", asked=told(ERROR))),
            run(
                ran(ERROR),
                infer(call(call_id="c2"), asked=told(ERROR)),
                ran(call_id="c2"),
                infer(DONE, asked=told(CANARY, call_id="c2")),
            ),
            run(
                ran(ERROR),
                infer(f"That failed, so I search for {CANARY}.", call("search", call_id="c2"), asked=told(ERROR)),
                ran(name="search", call_id="c2"),
                infer(DONE, asked=told(CANARY, call_id="c2", name="search")),
            ),
            run(ran(ERROR), infer(asked=told(ERROR))),
            run(ran(ERROR), infer(DONE, asked=told(ERROR), partial=True)),
            run(ran(ERROR), infer(DONE)),
        ],
    ),
    "answer_without_evidence": Cases(
        bad={
            "claims": run(infer(f"Order {CANARY}-4711 ships on 2031-05-17.")),
            "after_empty": run(infer(call()), ran([]), infer("It ships on 2031-05-17.", asked=told([]))),
            "after_failures": run(infer(call()), ran(ERROR), infer("It ships on 2031-05-17.", asked=told(ERROR))),
            "handed_over": run(infer(f"finish('{CANARY}')", tools=()), ran(None, "finish", {"answer": CANARY})),
        },
        good=[
            run(infer(call()), ran(), infer("It ships on 2031-05-17.", asked=told("2031-05-17"))),
            run(infer(call()), ran([]), infer("There are no results for 2031-05-17.", asked=told([]))),
            run(infer(call()), ran(), infer(CANARY, asked=told(CANARY)), ran(None, "finish", {"answer": CANARY})),
            run(
                infer("print(page)"),
                infer(CANARY, asked=(user("go"), assistant("print(page)"), Message("tool-response", (Text(PAGE),)))),
                ran(None, "finish", {"answer": CANARY}),
            ),
            run(infer("It ships on 2031-05-17.", asked=told(CANARY))),
            run(infer(f"Hello! I am here to help with {CANARY}.")),
            run(infer("You asked about order 4711.", asked=says(f"{CANARY} 4711"))),
            run(infer(f"Do you mean order {CANARY}-4711?")),
            run(infer("I cannot say anything about order 4711.")),
            run(infer("It ships on 2031-05-17.", tools=())),
            run(infer("It ships on 2031-05-17.", parameters={"tool_choice": "none"})),
            run(infer("It ships on 2031-05-17.", previous_response_id="r1")),
            run(infer(ServerToolCall("web_search", {"q": CANARY})), infer("It ships on 2031-05-17.")),
            run(infer("First\n10. second\n11. third", asked=says(CANARY))),
        ],
    ),
}

REFUSED_RUN = run(
    broken(ToolExecution("look_up", ARGUMENTS, call_id="c1", executed=False), violation(executed=False), failure=REFUSED),
    infer(DONE, asked=told("the call is not valid")),
)
CASES["failed_tool_ignored"].bad["answered, refused"] = REFUSED_RUN
CASES["slo"] = Cases(
    bad={
        **{share: run(under(ran(), **{share: 4e-9})) for share in ("p50", "p95", "p99")},
        "ttft": run(under(infer("x", time_to_first_chunk=0.5), time_to_first_token=0.4)),
    },
    good=[
        run(under(ran(), p99=5e-9), infer("x", time_to_first_chunk=9.0)),
        run(under(infer("x"), time_to_first_token=1e-9)),
        run(under(infer("x", time_to_first_chunk=0.5), time_to_first_token=0.5)),
    ],
)
A, B, C = (ran(name=name, arguments={"q": CANARY, "n": 1}) for name in ("look_up", "search", "refund"))
CASES["failed_tool_ignored"].bad["not_done"] = run(
    ran(ERROR, changes=True),
    infer(call("search", call_id="c2"), asked=told(ERROR)),
    ran("done", "search", call_id="c2"),
    infer(DONE, asked=told("done", call_id="c2", name="search")),
)
CASES["loop"] = Cases(
    bad={
        "ping_pong": run(infer(call()), A, B, infer(call()), A, B),
        "cycle": run(C, A, B, C, A, B, C),
        "near_duplicate": run(ran(arguments={"q": f"{CANARY}, in Rome"}), ran(arguments={"q": f"in rome {CANARY}"})),
        "same_answer": run(sent(user("go")), infer(LONG, asked=(user("go"), assistant(LONG), user("go on")))),
    },
    good=[
        run(A, B, A, C),
        run(A, A, A, A),
        run(A, ran("one", "search"), A, ran("two", "search")),
        run(*[ran(polls=True), B] * 2),
        run(ran(arguments={"page": 1}), ran(arguments={"page": 2})),
        run(ran(CANARY, arguments={"q": "a"}), ran("else", arguments={"q": "A"})),
        run(infer("Yes.", asked=(user("go"), assistant("Yes."), user("sure?")))),
    ],
)
CASES["retry_storm"] = Cases(
    bad={
        "client": run(infer(CANARY, attempts=3)),
        "model": run(*[failing(infer(), "APIError")] * 3),
        "tool": run(ran(ERROR), ran(ERROR, arguments={"q": 2}), failing(ToolExecution("look_up", {"q": CANARY}))),
    },
    good=[
        run(infer(CANARY, attempts=2)),
        run(ran(ERROR), ran(ERROR), ran(), ran(ERROR)),
        run(failing(infer()), failing(infer()), infer(CANARY), failing(infer())),
        run(*[failing(infer(), "CancelledError")] * 3),
    ],
)
CASES["duplicated_effect"] = Cases(
    bad={
        "declared": run(ran("ok", "refund", changes=True), ran(), ran("ok", "refund", changes=True)),
        "after_timeout": run(
            failing(ToolExecution("refund", ARGUMENTS, definition=ToolDefinition("refund", changes=True)), "TimeoutError"),
            ran("ok", "refund", changes=True),
        ),
        "observed": run(ran("1"), ran("ok", "refund"), ran("2"), ran("ok", "refund")),
        "created": run(ran({"ticket": "T-1001"}, "refund"), ran({"ticket": "T-1002"}, "refund")),
    },
    good=[
        run(ran("ok", "refund", changes=True), ran("ok", "refund", {"q": 2}, changes=True)),
        run(ran(ERROR, "refund", changes=True), ran("ok", "refund", changes=True)),
        run(*[ran("ok", "refund", changes=False)] * 2),
        run(*[ran("ok", "refund", polls=True, changes=True)] * 2),
        run(ran(), ran()),
        run(ran({"at": "2031-05-17"}), ran({"at": "2031-05-18"})),
        run(ran("1"), ran("ok", "refund"), ran("ok", "search"), ran("2"), ran("ok", "refund")),
    ],
)
CASES["failed_action"] = Cases(
    bad={
        "raised": run(infer(call()), failing(ToolExecution("look_up", ARGUMENTS, call_id="c1"))),
        "error_result": run(infer(call()), ran(ERROR)),
        "step": [
            replace(run(infer(CANARY))[0], parent_id="e" * 16),
            replace(failing(Custom()), span_id="e" * 16),
        ],
        "no_news": run(
            infer(f"print('{CANARY}')"),
            infer(CANARY, asked=(user("go"), assistant(f"print('{CANARY}')"), Message("tool-response", (Text(CANARY),)))),
        ),
    },
    good=[
        run(infer(call()), ran()),
        run(ran(ERROR, call_id=None)),
        run(infer(call()), failing(ToolExecution("look_up", call_id="c1"), "TimeoutError")),
        run(
            infer("print(page)"),
            infer(CANARY, asked=(user("go"), assistant("print(page)"), Message("tool-response", (Text(PAGE),)))),
        ),
    ],
)
CASES["refusal"] = Cases(
    bad={
        "provider": run(infer(Generic("refusal", {"content": CANARY}))),
        "words": run(infer(f"I'm sorry, but I can't help with {CANARY}.")),
    },
    good=[
        run(infer(f"I could not find {CANARY}.")),
        run(infer(f"I can't help with {CANARY}.", call())),
        run(infer(f"{PAGE * 8} I can't help with that.")),
    ],
)
CASES["degenerate_output"] = Cases(
    bad={"repetition": run(infer("It is. " + f"Let me check the {CANARY} again. " * 20))},
    good=[
        run(infer(PAGE * 3)),
        run(infer("| a |\n" + "|---" * 100)),
        run(infer("All is said. " * 3)),
        run(infer("```\n" + "0, 0, 0, " * 100)),
    ],
)
CASES["empty_retrieval"] = Cases(
    bad={
        "empty": run(Retrieval("faq", CANARY, [])),
        "low_score": run(*[searched(0.8, 0.7)] * 4, searched(0.3)),
        "empty, memory": run(Memory("search_memory", query=CANARY, records=[])),
    },
    good=[
        run(*[searched(0.8, 0.7)] * 4, searched(0.5)),
        run(*[searched(0.8)] * 4, searched(0.1, source="else")),
        run(*[searched(-2.0)] * 4, searched(-9.0)),
        run(Retrieval("faq", CANARY), Memory("create_memory", records=[])),
    ],
)
CASES["lost_context"] = Cases(
    bad={
        "system": run(sent(Message("system", (Text(CANARY),)), user("go")), sent(user("go"), assistant(CANARY), user("go on"))),
        "result": run(infer(call(), asked=says("go")), sent(user("go"), assistant(call()), user(f"what about {CANARY}?"))),
        "messages": run(
            sent(user("go"), assistant("one"), user(CANARY)), sent(user("go"), user(CANARY), assistant("two"), user("on"))
        ),
    },
    good=[
        run(sent(user("go")), sent(user("go"), assistant(CANARY), user("go on"))),
        run(infer("two", asked=(user("go"), assistant("one"), user(CANARY))), infer(CANARY, asked=says("else"))),
        run(infer(CANARY, asked=says("at 10:00")), infer("on", asked=(user("at 10:05"), assistant(CANARY), user("on")))),
        run(sent(Message("system", (Text(CANARY),)), user("go")), sent(user("go"))),
        run(sent(user("go"), assistant("one"), user(CANARY)), sent(user("else"))),
        run(infer(call(), asked=says("go")), sent(*says("go"), assistant(call()), *told(CANARY)[-1:])),
        run(infer(CANARY, asked=says("go")), infer(CANARY, asked=says("go"), previous_response_id="r1")),
    ],
)
CASES["output_limit"] = Cases(
    bad={
        "unset": run(*[infer(CANARY, usage=Usage(10, 20))] * 10),
        "far_over": run(*[infer(CANARY, usage=Usage(10, 20), parameters={"max_tokens": 16_000})] * 10),
    },
    good=[
        run(*[infer(CANARY, usage=Usage(10, 20))] * 9),
        run(*[infer(CANARY, usage=Usage(10, 900), parameters={"max_tokens": 4_000})] * 10),
        run(*[infer(CANARY)] * 10),
    ],
)
CASES["end_state"] = Cases(
    bad={
        "error": run(infer(call()), failing(infer())),
        "timeout": run(infer(call()), failing(infer(), "httpx.ReadTimeout")),
        "cancelled": run(infer(call()), failing(infer(), "CancelledError")),
        "limit": run(infer(call()), failing(infer(), "agents.MaxTurnsExceeded")),
        "cut": run(infer(call()), ran("found"), infer(CANARY, finish="length")),
        "left": run(infer(call()), ran("found"), infer(CANARY, partial=True)),
        "refused": run(infer(CANARY, finish="content_filter")),
        "empty": run(infer(call()), ran("found"), infer(" ")),
        "stopped": run(infer(call()), ran("found")),
        "asked_back": run(infer(f"Which {CANARY}?")),
        "gave_up": run(infer(call()), ran(ERROR), infer(ADMITS)),
        "after_errors": run(infer(call()), ran(ERROR), infer(DONE)),
        "no_action": run(infer(CANARY)),
    },
    good=[
        run(infer(call()), ran("found"), infer(CANARY)),
        run(infer(CANARY, tools=())),
        run(infer(call("finish")), ran(None, "finish", {"answer": CANARY})),
        run(infer(call()), ran(ERROR), ran("found"), ran("found"), ran("found"), infer(DONE)),
        run(infer(CANARY), outermost=False),
        run(infer(call()), ran("found"), infer(CANARY), failing(infer(), "CancelledError")),
    ],
)
CASES["unsupported_claim"] = Cases(
    bad={"claims": run(infer(call()), ran(), infer(f"{CANARY}-4711 ships on 2031-05-17.", asked=told(CANARY)))},
    good=[
        run(infer(call()), ran("2031-05-17"), infer("It ships on May 17, 2031.", asked=told("2031-05-17"))),
        run(infer(f"{CANARY}-4711 ships on 2031-05-17.")),
        run(infer(call()), ran(), infer(call(), asked=told(CANARY))),
        run(infer(call()), ran(), infer("It ships on 2031-05-17.", asked=told(CANARY), previous_response_id="r1")),
    ],
)
