"""What traits leave out finds nothing: any run has the same findings where each signal is stepped with each span."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace.evaluation import Evaluator
from llmtrace.model import (
    Evaluation,
    Failure,
    Generic,
    Inference,
    Message,
    Reasoning,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
)
from llmtrace.signals import Signal, load

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
TOOLS = (ToolDefinition("look_up", SCHEMA),)
CALL = '<tool_call>{"name": "look_up", "arguments": {"q": "a"}}</tool_call>'
SAID = (
    *(
        "",
        " ",
        "It is done.",
        "ok)",
        "I can't help with that.",
        "Order W1234567 costs 812.40.",
        "Sorry, that failed.",
        "Really?",
    ),
    *(
        CALL,
        CALL * 2,
        CALL + "<tool_call>{",
        CALL + "<tool_call>{]",
        "functions.look_up: q",
        "look_up(q='a')",
        "[look_up(q='a')]",
        "look_up(q='a')]",
    ),
    *('{"name": "look_up", "arguments": {"q": "a"}}', '```json\n{"q": 1}\n```', '{"q": 1', "{}", "no JSON"),
    *("ends<|im_end|>", "[INST]", "a <\uff5cend\uff5c>", "<</SYS>>", "ab" * 900, "Als KI kann ich dabei nicht helfen."),
)
ENDS = (None, "", "stop", "tool_calls", "TOOL_CALLS", "length", "content_filter", "refusal", "odd")
FORMS: tuple[dict[str, Any], ...] = (
    {},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    {"tool_choice": "required"},
    {"max_tokens": 90_000},
)
ATTRIBUTES: tuple[dict[str, Any], ...] = ({}, {"gen_ai.output.type": "json"})


class Unfiltered:
    """A signal that is stepped with every span."""

    untraced = True

    def __init__(self, signal: Signal) -> None:
        self.name, self.start, self._step = signal.name, signal.start, signal.step
        for each in ("finish", "shares", "per_task"):
            if hasattr(signal, each):
                setattr(self, each, getattr(signal, each))
        self.untraced = getattr(signal, "untraced", False)

    def step(self, state: Any, span: Span) -> Iterable[Evaluation]:
        return self._step(state, span)


def parts() -> st.SearchStrategy[Any]:
    said = st.sampled_from(SAID)
    calls = st.builds(ToolCall, st.just("look_up"), st.sampled_from(({"q": "a"}, {"q": "W99887766"}, "{q", {})), ids())
    refusal = said.map(lambda text: Generic("refusal", {"refusal": text}))
    return st.one_of(said.map(Text), said.map(Text), calls, said.map(Reasoning), refusal)


def ids() -> st.SearchStrategy[str | None]:
    return st.sampled_from(("c1", "c2", "c3", None))


def results() -> st.SearchStrategy[Message]:
    told = st.builds(ToolResult, st.sampled_from(("fine", "Error: no such order", '{"error": "no"}', "")), ids())
    return told.map(lambda result: Message("tool", (result,)))


def inferences() -> st.SearchStrategy[Inference]:
    answers = st.builds(
        Message, st.just("assistant"), st.lists(parts(), max_size=3).map(tuple), finish_reason=st.sampled_from(ENDS)
    )
    asked = st.lists(
        st.one_of(results(), answers, st.sampled_from(SAID).map(lambda text: Message("user", (Text(text),)))), max_size=3
    )
    return st.builds(
        Inference,
        st.sampled_from(("openai", "openai", "vllm")),
        input=asked.map(lambda messages: (Message("user", (Text("Where is it?"),)), *messages)),
        output=st.lists(answers, max_size=2).map(tuple),
        tools=st.sampled_from(((), TOOLS)),
        parameters=st.sampled_from(FORMS),
        finish_reasons=st.lists(st.sampled_from(ENDS[3:]), max_size=1).map(tuple),
        system_fingerprint=st.sampled_from((None, None, "vllm-0.11")),
        stream=st.booleans(),
        partial=st.sampled_from((False, False, False, True)),
        attempts=st.sampled_from((None, 1, 4)),
    )


def executions() -> st.SearchStrategy[ToolExecution]:
    shown = st.sampled_from(("fine", "Error: no such order", {"error": "no"}, "", None))
    return st.builds(ToolExecution, st.just("look_up"), st.just({"q": "a"}), shown, st.booleans(), ids())


@st.composite
def runs(draw: st.DrawFn) -> list[Span]:
    spans: list[Span] = []
    for number, operation in enumerate(draw(st.lists(st.one_of(inferences(), executions()), min_size=1, max_size=6)), start=1):
        failure = draw(st.sampled_from((None, None, None, Failure("ValueError", "no"))))
        attributes = draw(st.sampled_from(ATTRIBUTES))
        times = {"start": 10 * number, "end": 10 * number + 5, "sequence": number, "parent_id": "f" * 16, "run_id": "a" * 32}
        spans.append(
            Span("0" * 32, f"{number:016x}", "s", operation=operation, failure=failure, attributes=attributes, **times)  # type: ignore[arg-type]
        )
    return spans


def found(signals: Iterable[Any], spans: list[Span]) -> list[tuple[Evaluation, ...]]:
    evaluator = Evaluator(tuple(signals))
    state = evaluator.start()
    seen = [evaluator.step(state, span) for span in spans]
    last = evaluator.finish(state, seen[-1])
    return [tuple(sorted(span.evaluations, key=repr)) for span in (*seen, last)]


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(runs())
def test_what_is_not_stepped_would_find_nothing(spans: list[Span]) -> None:
    signals = load()
    assert found(signals, spans) == found([Unfiltered(signal) for signal in signals], spans)
