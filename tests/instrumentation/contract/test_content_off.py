"""Content that is off is nowhere, whichever library it came from: a canary is sent through every door, and looked for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from kit import SYSTEM, TOOL, Answer, Question, Reply, Said
from way import Watched, Way, see

from llmtrace.codec import genai

CANARY = "canary"
QUESTION = Question(f"What of the {CANARY}-prompt?", tools=True)
TEXT = Answer(text=f"The {CANARY}-answer is yours. " * 3)
CALL = Answer(text="", calls=(Said(f'{{"order_id": 7, "{CANARY}-key": "{CANARY}-value"}}', "call_1"),), finish="tool_call")


async def ask(way: Way, client: Any) -> Any:
    return way.kit.seen(await way.ask(client, QUESTION))


async def stream(way: Way, client: Any) -> Any:
    try:
        return [way.kit.seen(chunk) for chunk in await way.read(await way.open(client, QUESTION))]
    except Exception as raised:
        return see(raised)


def replies(way: Way) -> list[tuple[Any, Reply]]:
    """Every door: answers whole and streamed, text and calls, an error, a stream that is cut off."""
    cut = way.kit.streamed(TEXT)
    return [
        (ask, way.kit.whole(TEXT)),
        (ask, way.kit.whole(CALL)),
        (ask, way.kit.error(400)),
        (stream, way.kit.streamed(TEXT)),
        (stream, way.kit.streamed(CALL)),
        (stream, cut.broken(len(cut.pieces) // 2)),
    ]


def secrets(watched: Watched) -> list[str]:
    """What must not be found: the canary, the other content of the request, and the text of the exception."""
    raised = [watched.seen[1]] if isinstance(watched.seen, tuple) and len(watched.seen) == 3 else []
    return [CANARY, SYSTEM, TOOL["description"], *(text for text in raised if isinstance(text, str) and text)]


@pytest.mark.parametrize("number", range(6))
def test_nothing_is_in_the_span(way: Way, number: int) -> None:
    """``content="none"``: not in attributes, events, links, status or names of the encoded span."""
    program, reply = replies(way)[number]
    way.options = {"content": "none"}
    watched = way.watch(program, reply)
    (span,) = watched.spans
    span_json = json.dumps(asdict(genai.encode(span)), default=str)
    assert [secret for secret in secrets(watched) if secret in span_json] == []
    assert span.operation.provider == way.kit.provider  # type: ignore[union-attr]


@pytest.mark.parametrize("number", range(6))
def test_nothing_leaves_by_default(way: Way, number: int, app_provider: Any) -> None:
    """``content="local"``: the store has it, the program's own exporter does not."""
    program, reply = replies(way)[number]
    watched = way.watch(program, reply)
    (span,) = watched.spans
    assert CANARY in json.dumps(asdict(genai.encode(span)), default=str)
    finished = app_provider.exported.get_finished_spans()
    (exported,) = [
        span for span in finished if span.instrumentation_scope.name == "llmtrace"
    ]  # some SDKs make spans of their own
    assert exported.attributes["gen_ai.provider.name"] == way.kit.provider
    sent = exported.to_json()
    assert [secret for secret in secrets(watched) if secret in sent] == []
