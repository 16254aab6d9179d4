"""Content that is off is nowhere, whichever library it came from: a canary is sent through every door, and looked for."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kit import SYSTEM, TOOL, Answer, Question, Said
from way import Watched, Way, asking, see

from llmtrace.codec import genai

CANARY = "canary"
QUESTION = Question(f"What of the {CANARY}-prompt?", tools=True)
TEXT = Answer(text=f"The {CANARY}-answer is yours. " * 3)
CALL = Answer(text="", calls=(Said(f'{{"order_id": 7, "{CANARY}-key": "{CANARY}-value"}}', "call_1"),), finish="tool_call")


async def program(way: Way, client: Any) -> list[Any]:
    seen = []
    for step in [asking(QUESTION)] * 3 + [asking(QUESTION, stream=True)] * 3:
        try:
            seen.append(await step(way, client))
        except Exception as raised:
            seen.append(see(raised))
    return seen


def watch(way: Way) -> Watched:
    """Every door: answers whole and streamed, text and calls, an error, a stream that is cut off."""
    kit, cut = way.kit, way.kit.streamed(TEXT)
    whole = (kit.whole(TEXT), kit.whole(CALL), kit.error(400))
    return way.watch(program, *whole, kit.streamed(TEXT), kit.streamed(CALL), cut.broken(len(cut.pieces) // 2))


def secrets(watched: Watched) -> list[str]:
    """What must not be found: the canary, the other content of the request, and the texts of the exceptions."""
    raised = [seen[1] for seen in watched.seen if isinstance(seen, tuple) and len(seen) == 3]
    return [CANARY, SYSTEM, TOOL["description"], *(text for text in raised if isinstance(text, str) and text)]


def test_nothing_is_in_the_span(way: Way) -> None:
    """``content="none"``: not in attributes, events, links, status or names of the encoded span."""
    way.options = {"content": "none"}
    watched = watch(way)
    spans_json = [json.dumps(asdict(genai.encode(span)), default=str) for span in watched.spans]
    assert [secret for secret in secrets(watched) if secret in "".join(spans_json)] == []
    assert [span.operation.provider for span in watched.spans] == [way.kit.provider] * 6  # type: ignore[union-attr]


def test_nothing_leaves_by_default(way: Way, app_provider: Any) -> None:
    """``content="local"``: the store has it, the program's own exporter does not."""
    watched = watch(way)
    assert all(CANARY in json.dumps(asdict(genai.encode(span)), default=str) for span in watched.spans)
    finished = app_provider.exported.get_finished_spans()
    exported = [span for span in finished if span.instrumentation_scope.name == "llmtrace"]  # some SDKs make spans of their own
    assert [span.attributes["gen_ai.provider.name"] for span in exported] == [way.kit.provider] * 6
    sent = "".join(span.to_json() for span in exported)
    assert [secret for secret in secrets(watched) if secret in sent] == []
