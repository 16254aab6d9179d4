"""The finer points of the quality signals that read one answer."""

from __future__ import annotations

from typing import Any

import pytest
from signal_cases import JSON, broken, call, found, infer, ran, run, says, told, violation

from llmtrace import semconv
from llmtrace.model import Evaluation, Message, Scope, Text, ToolDefinition, Usage, replace
from llmtrace.signals import load
from llmtrace.signals._answers import json_asked


def findings(name: str, *steps: Any) -> list[Evaluation]:
    (signal,) = load((name,))
    return [evaluation for _, evaluation in found(signal, run(*steps))]


def labels(name: str, *steps: Any) -> list[str | None]:
    return [evaluation.label for evaluation in findings(name, *steps)]


def test_one_evaluation_per_call() -> None:
    """Two broken calls are two findings; one call with many faults is one, of the worst severity, on both its spans."""
    faults = (
        violation("unexpected", "/a", severity="warning", choice=0),
        violation("missing", "/b", choice=0),
        violation("wrong_type", "/c", tool="refund", call_id="c2", choice=0),
    )
    first, second = findings("invalid_tool_call", broken(infer(call(), call("refund", call_id="c2")), *faults))
    assert (first.call_id, first.label, first.severity, first.pointer) == ("c1", "missing", "error", "/b")
    assert first.explanation == "the call of `look_up` breaks its schema: unexpected, missing"
    assert (second.call_id, second.label) == ("c2", "wrong_type")
    (execution,) = findings("invalid_tool_call", broken(ran(), violation(executed=True)))
    assert (execution.severity, execution.call_id) == ("error", "c1")


@pytest.mark.parametrize(
    ("parameters", "asked"),
    [
        ({"response_format": {"type": "json_object"}}, "object"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "any"),
        ({"response_format": "json"}, "any"),
        ({"text": {"format": {"type": "json_schema"}}}, "any"),
        ({"response_mime_type": "application/json"}, "any"),
        ({"response_format": {"type": "text"}}, None),
        ({"text": {"format": {"type": "text"}}}, None),
        ({"temperature": 1}, None),
        ({}, None),
    ],
)
def test_how_json_is_asked_for(parameters: dict[str, Any], asked: str | None) -> None:
    """The ways in which the providers' requests ask for JSON."""
    inference = infer("x", parameters=parameters)
    span = run(inference)[0]
    assert json_asked(span, inference) == asked


def test_json_asked_for_by_the_conventions_attribute() -> None:
    """A span of another instrumentation says it by the output type alone."""
    span = replace(run(infer("x"))[0], attributes={semconv.OUTPUT_TYPE: "json"})
    (signal,) = load(("malformed_output",))
    assert [evaluation.label for _, evaluation in found(signal, [span])] == ["not_json"]


def test_every_choice_is_judged() -> None:
    """With several choices each is judged by its own text, finish reason and violations."""
    two = replace(
        infer("{}", parameters=JSON),
        output=(Message("assistant", (Text("{}"),)), Message("assistant", (Text("no"),))),
        finish_reasons=("stop", "length"),
    )
    assert labels("malformed_output", broken(two, violation(where="output", choice=0))) == ["schema"]
    assert labels("truncated_output", two) == ["length"]


def test_severities_of_malformed_output() -> None:
    """What a lenient program still reads is a warning; what nobody can read is an error."""
    severity = {
        text: findings("malformed_output", infer(text, parameters=JSON))[0].severity
        for text in ('```json\n{"a": 1}\n```', 'So: {"a": 1}.', "none", "5")
    }
    assert list(severity.values()) == ["warning", "warning", "error", "error"]


def test_the_providers_words_for_cut() -> None:
    """Length and filter by the names of OpenAI, Anthropic and Google, in any case."""
    for reason in ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens"):
        assert labels("truncated_output", infer("x", finish=reason)) == ["length"]
    for reason in ("content_filter", "SAFETY"):
        assert labels("truncated_output", infer("x", finish=reason)) == ["content_filter"]
    for reason in ("stop", "end_turn", "STOP", "tool_calls"):
        assert labels("truncated_output", infer("x", finish=reason)) == []


def test_no_choice_needs_a_request_that_is_visible() -> None:
    """A response without choices is empty only where its tokens do not say that there was an answer that its recorder may have
    kept to itself; what llmtrace recorded holds all that came."""
    nothing = replace(infer(), output=(), finish_reasons=())
    spent = replace(nothing, usage=Usage(output_tokens=12))
    assert labels("empty_output", nothing) == ["no_choice"]
    assert labels("empty_output", spent) == []
    (signal,) = load(("empty_output",))
    for operation, label in ((spent, ["no_choice"]), (replace(spent, input=()), [])):
        own = replace(broken(operation), scope=Scope("llmtrace", "1"))
        assert [one.label for one in signal.step(signal.start(), own)] == label


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "look_up", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "get_',
        "I will look. <function=look_up>{}</function>",
        '[TOOL_CALLS] [{"name": "look_up", "arguments": {}}]',
        '<|python_tag|>{"name": "look_up", "parameters": {}}',
        "<｜tool▁calls▁begin｜>function<｜tool▁sep｜>look_up",
        '<invoke name="look_up"><parameter name="q">x</parameter></invoke>',
        "```tool_code\nlook_up(q='x')\n```",
        '{"name": "look_up", "arguments": {"q": "x"}}',
        '{"type": "function", "function": {"name": "look_up", "arguments": "{}"}}',
        '```json\n{"name": "look_up", "arguments": {"q": "x"}}\n```',
        '[{"tool": "look_up", "args": {"q": "x"}}]',
        'functions.look_up({"q": "x"})',
        "look_up(q='x')",
        "[look_up(q='x'), refund(n=1)]",
    ],
)
def test_forms_of_leaked_calls(text: str) -> None:
    """The syntax of the usual chat templates, and of models that write calls as JSON or code."""
    assert labels("leaked_tool_call", infer(text)) == ["syntax"]


@pytest.mark.parametrize(
    "text",
    [
        "I looked it up (see above).",
        'The answer is {"name": "Ann", "arguments": "none"}.',
        '{"name": "Ann", "input": {"q": "x"}}',
        "Use `functions.look_up(…)` to look things up.",
        "```\n<tool_call>look_up</tool_call>\n```",
        "We have tools: look_up, refund, search.",
        "<b>look_up</b> is a tool",
    ],
)
def test_forms_that_are_no_leak(text: str) -> None:
    """Prose, data and quoted code are no calls."""
    assert labels("leaked_tool_call", infer(text)) == []


def test_json_that_the_user_asked_to_see_is_no_leak() -> None:
    """Who asks for a call as JSON gets one."""
    text = '```json\n{"name": "look_up", "arguments": {}}\n```'
    assert labels("leaked_tool_call", infer(text, asked=says("Show me the JSON of such a call"))) == []


def test_only_a_tool_on_offer_can_leak() -> None:
    """Without tools in the request there is nothing to call."""
    text = '{"name": "look_up", "arguments": {}}'
    assert labels("leaked_tool_call", infer(text, tools=())) == []
    assert labels("leaked_tool_call", infer(text, tools=(ToolDefinition("other"),))) == []


def test_claims() -> None:
    """The claims are in the evidence, in order, each once; what the request contains is none."""
    text = "On 2031-05-17 order W-4711 ($1,250) was sent to a@b.com; 1250 again. See https://x.org/y. Open 24/7."
    (evaluation,) = findings("answer_without_evidence", infer(text, asked=says("order w-4711")))
    assert evaluation.evidence["claims"] == ["2031-05-17", "$1,250", "a@b.com", "1250", "https://x.org/y"]
    assert (evaluation.severity, evaluation.sources) == ("info", (f"{0:016x}",))


def test_the_last_answer_counts() -> None:
    """An earlier answer of the run is not the final one."""
    assert labels("answer_without_evidence", infer("It costs 250."), infer("You are welcome.")) == []
    assert labels("answer_without_evidence", infer("Hello."), infer("It costs 250.")) == ["claims"]


def test_evidence_from_an_earlier_run() -> None:
    """A conversation that goes on in a new run brings its tool results along in the history."""
    history = (*told("250"), Message("assistant", (Text("Found."),)), *says("And the price with tax?"))
    assert labels("answer_without_evidence", infer("It costs 297.50.", asked=history)) == []
