"""The check that every other test is under (`tests.conformance`, by a fixture in conftest) finds what it should."""

from __future__ import annotations

from typing import Any

import pytest

from llmtrace.model import (
    Blob,
    Failure,
    Generic,
    Inference,
    JsonValue,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Usage,
)
from tests.conformance import FOLDER, Conventions


@pytest.fixture(scope="module")
def conventions() -> Conventions:
    if not FOLDER.is_dir():
        pytest.skip(f"the files of the GenAI conventions are absent: {FOLDER}; no span of any test is held against them")
    return Conventions()


def span(operation: Any = None, attributes: dict[str, JsonValue] | None = None, failure: Failure | None = None) -> Span:
    return Span(
        "1" * 32, "2" * 16, "x", 0, 1, operation=operation or Inference("openai"), attributes=attributes or {}, failure=failure
    )


WHOLE = Inference(
    "openai",
    request_model="m",
    system=(Text("Be kind."),),
    input=(Message("user", (Text("Where?"), Blob("image", "image/png", digest="sha256:00", size=1))),),
    output=(Message("assistant", (ToolCall("look_up", {"a": 1}, "c"), ToolCall("look_up", "{", "d")), finish_reason="stop"),),
    tools=(ToolDefinition("look_up", {"type": "object"}, "Looks."), ToolDefinition("web_search", type="web_search")),
    parameters={"temperature": 0.5, "max_tokens": 3, "stop_sequences": ["x"], "tool_choice": "auto"},
    usage=Usage(1, 2, 3),
    server_address="h",
    server_port=1,
)


@pytest.mark.parametrize(
    "good",
    [
        span(WHOLE),
        span(ToolExecution("look_up", {"a": 1}, [1], has_result=True)),
        span(attributes={"mine": 5}),
        span(failure=Failure("timeout")),
    ],
)
def test_what_is_right_passes(conventions: Conventions, good: Span) -> None:
    """Own attributes of the program included."""
    assert conventions.faults(good) == []


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (span(attributes={"gen_ai.made_up": "x"}), "gen_ai.made_up is not in the registry"),
        (span(attributes={"gen_ai.conversation.id": 7}), "gen_ai.conversation.id should be string"),
        (span(Inference("")), "gen_ai.provider.name is missing"),
        (span(Inference("openai", server_port=80)), "server.port without server.address"),
        (span(Inference("openai", usage=Usage("many"))), "gen_ai.usage.input_tokens should be int"),  # type: ignore[arg-type]
        (span(Inference("openai", finish_reasons=(None,))), "gen_ai.response.finish_reasons should be string[]"),  # type: ignore[arg-type]
        (span(Inference("openai", output=(Message(None, ()),))), "gen_ai.output.messages: "),  # type: ignore[arg-type]
        (span(Inference("openai", output=(Message("a", (Text(None),)),))), "a part of type text"),  # type: ignore[arg-type]
        (span(Inference("openai", input=(Message("a", (Generic(5, {}),)),))), "gen_ai.input.messages: "),  # type: ignore[arg-type]
        (span(failure=Failure("")), "error.type is missing"),
    ],
)
def test_what_is_wrong_is_named(conventions: Conventions, bad: Span, fault: str) -> None:
    """Unknown names, wrong types, broken messages and parts, missing names."""
    assert fault in " ".join(conventions.faults(bad))
