"""What counts as a change of a run's environment, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmtrace.diagnosis.environment import (
    Environment,
    Fact,
    compare,
    environment_of,
    facts_as_json,
    facts_from_json,
    unknown_kinds,
)
from llmtrace.fingerprints import fingerprint
from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, ToolDefinition, Trace, replace
from llmtrace.semconv import CONTENT_LEVEL, LIBRARIES, PACKAGES

LOOK_UP = ToolDefinition("look_up", {"type": "object"}, "Find an order.")


def call(
    system: str = "Be kind.", *, model: str = "m", tools: tuple[ToolDefinition, ...] = (LOOK_UP,), **parameters: Any
) -> Inference:
    messages = (Message("system", (Text(system),)), Message("user", (Text("hi"),)))
    inference = Inference("openai", "chat", model, input=messages, response_model=model, tools=tools, parameters=parameters)
    return replace(inference, fingerprint=fingerprint(inference))


def trace(*calls: Inference, agent: str = "support", **fields: Any) -> Trace:
    root = Span("ab" * 16, "0" * 15 + "1", "a", 0, 99, operation=AgentInvocation(agent), **fields)
    children = [
        Span("ab" * 16, f"{number + 2:016x}", "chat", number + 1, 50, root.span_id, operation=one, **fields)
        for number, one in enumerate(calls)
    ]
    return Trace([root, *children])


def changes(before: Trace, now: Trace) -> list[tuple[str, str]]:
    return [(change.fact.kind, change.fact.name) for change in compare(environment_of(before), environment_of(now))]


def test_a_run_that_did_less_did_not_change() -> None:
    """Fewer calls, or more, with prompts and parameters that the other run has, too."""
    long = trace(call("One."), call("Two.", temperature=0.5))
    assert changes(long, trace(call("One."))) == []
    assert changes(trace(call("Two.", temperature=0.5)), long) == []
    assert changes(long, trace(call("One."), call("Three.", temperature=0.5))) == [("system prompt", "")]


def test_another_agent_is_not_compared() -> None:
    """What one run lacks is behaviour; it is seen in the steps."""
    assert changes(trace(call("One.")), trace(call("Two."), agent="billing")) == []


def test_the_order_of_causes() -> None:
    tool = replace(LOOK_UP, description="Find orders.")
    now = trace(call("Be rude.", model="n", tools=(tool, ToolDefinition("refund")), temperature=0.1, user="u-2"))
    assert changes(trace(call(temperature=0.2, user="u-1")), now) == [
        ("model", ""),
        ("system prompt", ""),
        ("tool", "look_up"),
        ("tool", "refund"),
        ("parameter", "temperature"),
        ("answering model", ""),
    ]


def test_without_content_digests_are_compared() -> None:
    """Of two runs without content; of one with and one without, only what both say."""

    def bare(inference: Inference) -> Trace:
        parameters = {name: one for name, one in inference.parameters.items() if name == "temperature"}
        stripped = replace(inference, input=(), tools=(), parameters=parameters)
        return trace(stripped, attributes={CONTENT_LEVEL: "none"})

    before, now = call(temperature=0.1, tool_choice="auto"), call("Be rude.", tools=(), temperature=0.2, tool_choice="none")
    expected = [("system prompt", ""), ("tools", ""), ("parameter", "temperature"), ("parameters", "")]
    assert changes(bare(before), bare(now)) == expected
    assert changes(trace(before), bare(now)) == [("system prompt", ""), ("parameter", "temperature")]
    assert changes(trace(before), bare(before)) == changes(bare(before), trace(before)) == []


def test_libraries_and_packages() -> None:
    def program(*libraries: str, packages: str = "p") -> Trace:
        return trace(call(), resource={LIBRARIES: list(libraries), PACKAGES: packages})

    before = program("openai 1.0", "mcp 1.0")
    assert changes(before, program("openai 1.0", "mcp 2.0", packages="q")) == [("library", "mcp")]
    assert changes(before, program("openai 1.0", packages="q")) == [("library", "mcp")]
    assert changes(before, program("openai 1.0", "mcp 1.0", packages="q")) == [("installed packages", "")]
    assert changes(before, trace(call())) == []
    assert unknown_kinds(environment_of(before), environment_of(trace(call()))) == ["library", "installed packages"]


def test_what_another_writer_does_not_say_is_unknown() -> None:
    """A span of a call without messages and without digests."""
    assert changes(trace(call()), trace(Inference("openai", request_model="m"))) == []


def test_facts_are_read_as_they_were_written() -> None:
    environment = environment_of(trace(call(temperature=0.1)))
    assert facts_from_json(json.loads(json.dumps(facts_as_json(environment)))).facts == environment.facts
    later = [{"kind": "of a later version", "values": []}, {"kind": "model", "where": "a", "values": ["m"]}]
    assert facts_from_json(later) == Environment({Fact("model", "a"): ("m",)}, {})


@pytest.mark.parametrize("item", [{"values": ["m"]}, {"kind": "model"}, {"kind": "model", "values": "gpt-4o"}, None])
def test_data_that_are_no_facts_are_refused(item: Any) -> None:
    """A fact has a kind and a list of values; a text is not read as a list of letters."""
    with pytest.raises(ValueError, match="expected a"):
        facts_from_json([item])
