"""For every quality signal: runs on which it fires, by label, and runs on which it must not. All their content holds CANARY."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmtrace import semconv
from llmtrace.evaluation import Evaluator
from llmtrace.laws import AnySignal
from llmtrace.model import (
    AgentInvocation,
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
    Violation,
    replace,
)
from llmtrace.reading.run_evidence import RunEvidence

CANARY = "xk7canary"
ROOT = "f" * 16
RUN = "a" * 32
TOOLS = tuple(ToolDefinition(name, {"type": "object"}) for name in ("look_up", "refund", "search"))
JSON = {"response_format": {"type": "json_object"}}
ARGUMENTS = {"q": CANARY}


# -- parts of runs


def run(*steps: Operation | Span, outermost: bool = True) -> list[Span]:
    """Spans of one run in the order of ending; the outermost one last."""
    spans = []
    for number, step in enumerate(steps):
        span = step if isinstance(step, Span) else Span("0" * 32, "", "s", 0, operation=step)
        place = {"start": number * 10, "end": number * 10 + 5, "parent_id": ROOT, "run_id": RUN, "sequence": number}
        spans.append(replace(span, span_id=f"{number:016x}", **place))
    if outermost:
        last = {"start": 0, "end": len(spans) * 10, "run_id": RUN, "sequence": len(spans)}
        spans.append(Span("0" * 32, ROOT, "agent", operation=AgentInvocation("support"), **last))  # type: ignore[arg-type]
    return spans


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


def result_of(call_: ToolCall, result: Any) -> tuple[Message, ...]:
    """A request that carries the result of a call."""
    return user(CANARY), assistant(call_), Message("tool", (ToolResult(result, call_.id),))


def violation(code: Any = "missing", pointer: str = "/q", **fields: Any) -> Violation:
    defaults: dict[str, Any] = {"tool": "look_up", "call_id": "c1", "got": CANARY}
    return Violation(code, pointer, "required", "it is missing", **(defaults | fields))


def evaluate(spans: list[Span]) -> list[Span]:
    """The spans as the live path leaves them."""
    evaluator = Evaluator()
    state = evaluator.start()
    judged = [evaluator.step(state, span) for span in spans]
    return [*judged[:-1], evaluator.finish(state, judged[-1])]


def find(signal: AnySignal, spans: list[Span]) -> list[tuple[str, Evaluation]]:
    """What one signal finds on a run, with the id of the span it is on. What it raises is raised."""
    evidence = RunEvidence()
    state = signal.start(evidence)
    found: list[tuple[str, Evaluation]] = []
    for span in spans:
        evidence.add(span)
        found += [(span.span_id, evaluation) for evaluation in _step(signal, state, span)]
    return [*found, *((spans[-1].span_id, evaluation) for evaluation in signal.finish(state))]


def _step(signal: AnySignal, state: Any, span: Span) -> list[Evaluation]:
    if signal.looks_at and type(span.operation) not in signal.looks_at:
        return []
    return list(signal.step(state, span))


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
    bad: dict[str, list[Span]]
    """By label; what stands after a comma tells cases of one label apart."""
    good: list[list[Span]]


ERROR = {"error": f"no {CANARY}"}
DONE = f"Your refund of {CANARY} is on its way."
ADMISSION = f"I could not refund {CANARY}."
PAGE = f"{CANARY} " + " ".join(f"word{chr(97 + n)}" for n in range(26))
UNEXPECTED = violation("unexpected", f"/{CANARY}", severity="warning")

VLLM = {"system_fingerprint": "vllm-0.32.0-0123abcd"}
REQUIRED: dict[str, Any] = {**VLLM, "parameters": {"tool_choice": "required"}}
NAMED: dict[str, Any] = {**VLLM, "parameters": {"tool_choice": {"type": "function", "function": {"name": "look_up"}}}}
STRICT = tuple(ToolDefinition(tool.name, tool.parameters, strict=True) for tool in TOOLS)

A, B, C = (execute(name=name, arguments={"q": CANARY, "n": 1}) for name in ("look_up", "search", "refund"))
REFUND = execute("ok", "refund", changes=True)

CASES: dict[str, Cases] = {
    "answer_without_evidence": Cases(
        bad={
            "no_lookup": run(infer(f"Order {CANARY}-4711 ships on 2031-05-17.")),
            "after_empty": run(infer(call()), execute([]), infer("It ships on 2031-05-17.", request=result_of(call(), []))),
            "after_failures": run(
                infer(call()), execute(ERROR), infer("It ships on 2031-05-17.", request=result_of(call(), ERROR))
            ),
        },
        good=[
            run(infer(call()), execute(), infer("It ships on 2031-05-17.", request=result_of(call(), "2031-05-17"))),
            run(infer(call()), execute([]), infer("There are no results for 2031-05-17.", request=result_of(call(), []))),
            run(infer("It ships on 2031-05-17.", request=result_of(call(), CANARY))),
            run(infer(f"Hello! I am here to help with {CANARY}.")),
            run(infer("You asked about order 4711.", request=(user(f"{CANARY} 4711"),))),
            run(infer(f"Do you mean order {CANARY}-4711?")),
            run(infer("I cannot say anything about order 4711.")),
            run(infer("It ships on 2031-05-17.", tools=())),
            run(infer("It ships on 2031-05-17.", parameters={"tool_choice": "none"})),
            run(infer("It ships on 2031-05-17.", previous_response_id="r1")),
            run(infer(ServerToolCall("web_search", {"q": CANARY})), infer("It ships on 2031-05-17.")),
            run(infer("First\n10. second\n11. third", request=(user(CANARY),))),
        ],
    ),
    "defective_output": Cases(
        bad={
            "empty": run(infer(" \n")),
            "reasoning_only": run(infer(Reasoning(CANARY))),
            "no_choice": run(Inference("openai", input=(user(CANARY),))),
            "cut": run(infer(f"It is {CANARY} and", finish="length")),
            "cut, reasoning": run(infer(Reasoning(CANARY), finish="length")),
            "cut_json": run(infer(f'{{"a": "{CANARY}', parameters=JSON, finish="length")),
            "cut_arguments": run(infer(call(arguments=f'{{"q": "{CANARY}'), finish="tool_calls")),
            "filtered": run(infer(CANARY, finish="content_filter")),
            "stream_cut": run(step(infer(f"It is {CANARY} and", partial=True), attributes={semconv.STREAM_CUT: True})),
        },
        good=[
            run(infer(CANARY)),
            run(infer(call())),
            run(infer(call(arguments=f'{{"q": {CANARY}}}'), finish="tool_calls")),
            run(infer(Generic("refusal", {"content": CANARY}))),
            run(infer(f'{{"a": "{CANARY}', partial=True, parameters=JSON)),
            run(failing(infer(), "timeout")),
            run(Inference("openai", input=(user(CANARY),), finish_reasons=("stop",))),
            run(Inference("openai")),
            run(infer(PAGE * 3)),
            run(infer("| a |\n" + "|---" * 100)),
            run(infer("All is said. " * 3)),
            run(infer("```\n" + "0, 0, 0, " * 100)),
        ],
    ),
    "duplicated_effect": Cases(
        bad={
            "declared": run(REFUND, execute(), REFUND),
            "after_timeout": run(
                failing(ToolExecution("refund", ARGUMENTS, definition=ToolDefinition("refund", changes=True)), "TimeoutError"),
                REFUND,
            ),
            "undeclared": run(execute("ok", "refund"), execute("ok", "refund")),
        },
        good=[
            run(REFUND, execute("ok", "refund", {"q": 2}, changes=True)),
            run(execute(ERROR, "refund", changes=True), REFUND),
            run(*[execute("ok", "refund", changes=False)] * 2),
            run(*[execute("ok", "refund", polls=True, changes=True)] * 2),
            run(execute(), execute()),
            run(infer(CANARY), REFUND, infer(CANARY, request=(user("another one"),)), REFUND),
        ],
    ),
    "empty_retrieval": Cases(
        bad={
            "empty": run(Retrieval("faq", CANARY, [])),
            "empty, memory": run(Memory("search_memory", query=CANARY, records=[])),
        },
        good=[
            run(Retrieval("faq", CANARY, [{"content": CANARY, "score": 0.1}])),
            run(Retrieval("faq", CANARY), Memory("create_memory", records=[])),
            run(failing(Retrieval("faq", CANARY, []))),
        ],
    ),
    "end_state": Cases(
        bad={
            "error": run(infer(call()), failing(infer())),
            "timeout": run(infer(call()), failing(infer(), "httpx.ReadTimeout")),
            "cancelled": run(infer(call()), failing(infer(), "CancelledError")),
            "limit": run(infer(call()), failing(infer(), "agents.MaxTurnsExceeded")),
            "cut": run(infer(call()), execute("found"), infer(CANARY, finish="length")),
            "cut, stream": run(infer(call()), step(infer(CANARY, partial=True), attributes={semconv.STREAM_CUT: True})),
            "left": run(infer(call()), execute("found"), infer(CANARY, partial=True)),
            "refused": run(infer(CANARY, finish="content_filter")),
            "empty": run(infer(call()), execute("found"), infer(" ")),
            "stopped": run(infer(call()), execute("found", call_id="c1")),
            "asked_back": run(infer(f"Which {CANARY}?")),
            "gave_up": run(infer(call()), execute(ERROR, call_id="c1"), infer(ADMISSION)),
            "after_errors": run(infer(call()), execute(ERROR, call_id="c1"), infer(DONE)),
            "no_action": run(infer(CANARY)),
        },
        good=[
            run(infer(call()), execute("found"), infer(CANARY)),
            run(infer(CANARY, tools=())),
            run(infer(call("finish")), execute(None, "finish", {"answer": CANARY}, "c1")),
            run(infer(call()), execute(ERROR), *[execute("found")] * 3, infer(DONE)),
            run(infer(CANARY), outermost=False),
            run(infer(call()), execute("found"), infer(CANARY), failing(infer(), "CancelledError")),
        ],
    ),
    "failed_tool": Cases(
        bad={
            "raised": run(infer(call()), failing(ToolExecution("look_up", ARGUMENTS, call_id="c1"))),
            "error_result": run(infer(call()), execute(ERROR, call_id="c1")),
            "error_result, told": run(infer(call()), infer(CANARY, request=result_of(call(), ERROR))),
            "never_succeeded": run(infer(call()), execute(ERROR, call_id="c1"), infer(DONE, request=result_of(call(), ERROR))),
            "never_succeeded, change": run(
                infer(call("refund")),
                execute(ERROR, "refund", call_id="c1"),
                execute("a depot", "search", {"q": "else"}),
                infer(DONE),
            ),
            "admitted": run(infer(call()), execute(ERROR, call_id="c1"), infer(ADMISSION, request=result_of(call(), ERROR))),
        },
        good=[
            run(infer(call()), execute(), infer(DONE)),
            run(infer(call()), failing(ToolExecution("look_up", call_id="c1"), "CancelledError"), infer(DONE)),
        ],
    ),
    "invalid_tool_call": Cases(
        bad={
            "missing": run(step(infer(call()), violations=(violation(choice=0),)), step(execute(), violations=(violation(),))),
            "wrong_type": run(step(infer(call()), violations=(UNEXPECTED, violation("wrong_type")))),
            "unexpected": run(step(execute(), violations=(UNEXPECTED,))),
            "unknown_tool": run(step(infer(call(CANARY)), violations=(violation("unknown_tool", "", tool=CANARY),))),
        },
        good=[
            run(infer(call()), execute()),
            run(step(infer(call()), violations=(violation("schema", "", severity="warning"),))),
            run(step(infer("{}"), violations=(violation(where="output"),))),
        ],
    ),
    "leaked_tool_call": Cases(
        bad={
            "syntax": run(infer(f'<tool_call>\n{{"name": "look_up", "arguments": {{"q": "{CANARY}"}}}}\n</tool_call>')),
            "syntax, code": run(infer(f'look_up(q="{CANARY}")')),
            "syntax, JSON": run(infer(f'```json\n{{"name": "look_up", "arguments": {{"q": "{CANARY}"}}}}\n```')),
            "syntax, qualified": run(infer(f'to=functions.look_up {{"q": "{CANARY}"}}')),
            "missing_call": run(infer(f"I will look {CANARY} up.", finish="tool_calls")),
            "control_token": run(infer(f"{CANARY} it is.<|im_end|>")),
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
        bad={
            "system": run(
                infer("one", request=(Message("system", (Text(CANARY),)), user("go"))),
                infer("two", request=(user("go"), assistant("one"), user("go on"))),
            ),
            "result": run(
                infer(call(), request=(user("go"),)),
                infer("two", request=(user("go"), assistant(call()), user(f"what about {CANARY}?"))),
            ),
            "messages": run(
                infer("two", request=(user("go"), assistant("one"), user(CANARY))),
                infer("three", request=(user("go"), assistant("two"), user("on"))),
            ),
        },
        good=[
            run(infer(CANARY, request=(user("go"),)), infer("on", request=(user("go"), assistant(CANARY), user("go on")))),
            run(infer("two", request=(user("go"), assistant("one"), user(CANARY))), infer("x", request=(user("else"),))),
            run(infer(CANARY, request=(Message("system", (Text("a"),)), user("go"))), infer("on", request=(user("go"),))),
            run(infer(call(), request=(user("go"),)), infer("on", request=(user("go"), *result_of(call(), CANARY)[1:]))),
            run(
                infer(CANARY, request=(user("go"), assistant("a"), user("b"))),
                infer("on", request=(assistant(CANARY),), previous_response_id="r1"),
            ),
            run(
                infer(CANARY, request=(Message("system", (Text("a"),)), user("go"), assistant("a"), user("b"))),
                infer("on", request=(Message("system", (Text("judge"),)), assistant(CANARY), user("fine?"))),
            ),
        ],
    ),
    "low_confidence": Cases(
        bad={
            "answer": run(confident(infer(f"It is {CANARY} of course."), mean=-2.0)),
            "stretch": run(confident(infer(f"It is {CANARY}."), low=[0, 6, 6 + len(CANARY)])),
        },
        good=[
            run(infer(f"It is {CANARY}.")),
            run(confident(infer(f"It is {CANARY}."))),
            run(confident(infer(CANARY), mean=-2.0, tokens=3)),
        ],
    ),
    "malformed_output": Cases(
        bad={
            "not_json": run(infer(f"It is {CANARY}.", parameters=JSON)),
            "not_an_object": run(infer(f'["{CANARY}"]', parameters=JSON)),
            "fenced": run(infer(f'```json\n{{"a": "{CANARY}"}}\n```', parameters=JSON)),
            "wrapped": run(infer(f'Here it is: {{"a": "{CANARY}"}}. Enjoy!', parameters=JSON)),
            "schema": run(
                step(infer(f'{{"a": "{CANARY}"}}', parameters=JSON), violations=(violation(where="output", choice=0),))
            ),
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
        bad={
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
        bad={
            "twice": run(execute(), execute(name="search"), execute()),
            "same_result": run(execute(), execute(name="search"), execute(), execute()),
            "same_result, failures": run(*[failing(ToolExecution("look_up", ARGUMENTS))] * 3),
            "cycle": run(*[A, B] * 3),
            "cycle, of four": run(*[A, B, C, execute(name="refund")] * 3),
        },
        good=[
            run(execute(), execute(arguments={"q": CANARY, "page": 2}), execute(name="search")),
            run(execute({"state": "pending"}), execute({"state": CANARY})),
            run(execute(ERROR), execute()),
            run(ToolExecution("look_up"), ToolExecution("look_up")),
            run(*[execute(polls=True)] * 5),
            run(*[execute(name="get_job_status")] * 5),
            run(infer(CANARY), execute(), infer(CANARY, request=(user("again"),)), execute()),
        ],
    ),
    "served_call": Cases(
        bad={
            "unenforced": run(step(infer(call(), **REQUIRED, finish="tool_call"), violations=(violation(),))),
            "named_stop": run(infer(call(), **NAMED)),
            "dropped": run(infer(f'<tool_call>{{"name": "look_up"}}</tool_call><tool_call>{{"{CANARY}</tool_call>')),
            "stream_differs": run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), stream=True, **REQUIRED, finish="tool_call")),
            "stream_differs, left": run(infer(f'<tool_call>{{"name": "{CANARY}"}}</tool_call>', stream=True, **REQUIRED)),
        },
        good=[
            run(infer(call(), **REQUIRED, finish="tool_call")),
            run(step(infer(call(), parameters=REQUIRED["parameters"], finish="tool_call"), violations=(violation(),))),
            run(step(infer(call(), **{**REQUIRED, "tools": STRICT}, finish="tool_call"), violations=(violation(),))),
            run(infer(call(), **NAMED, finish="tool_call")),
            run(infer(call(), stream=True, **REQUIRED, finish="tool_call")),
            run(infer(call(arguments=f'["{CANARY}"]'), stream=True, **REQUIRED, finish="tool_call")),
            run(infer(call(arguments=f'{{"q": "{CANARY}'), stream=True, **REQUIRED, finish="length")),
            run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), **REQUIRED, finish="tool_call")),
            run(infer(call(arguments=f'{{"q": "{CANARY}"}}}}'), stream=True, finish="tool_call")),
            run(infer(f'<tool_call>{{"name": "{CANARY}"}}</tool_call>')),
        ],
    ),
    "slo": Cases(
        bad={
            **{share: run(under(execute(), **{share: 4e-9})) for share in ("p50", "p95", "p99")},
            "ttft": run(under(infer("x", time_to_first_chunk=0.5), time_to_first_token=0.4)),
        },
        good=[
            run(under(execute(), p99=5e-9), infer("x", time_to_first_chunk=9.0)),
            run(under(infer("x"), time_to_first_token=1e-9)),
            run(under(infer("x", time_to_first_chunk=0.5), time_to_first_token=0.5)),
        ],
    ),
    "ungrounded_argument": Cases(
        bad={
            "made_up": run(infer(call("get_order", {"order_id": f"{CANARY}-20431"}))),
            "in_change": run(
                infer(call("refund", {"order_id": f"{CANARY}-20431"})),
                execute("ok", "refund", {"order_id": f"{CANARY}-20431"}, "c1"),
            ),
        },
        good=[
            run(infer(call("refund", {"order_id": "KS-20431"}), request=(user(f"Refund KS-20431, {CANARY}"),))),
            run(infer(call("refund", {"order_id": f"{CANARY}-20431"}), previous_response_id="r1")),
            run(infer(call("refund", {"amount": 17.35, "day": "2031-05-17", "why": f"my {CANARY} leaks"}))),
        ],
    ),
}
