"""A recorded call is answered again, of every library: the program sees what it saw, and nothing is sent."""

from __future__ import annotations

import gc
import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from kit import CALLS, Answer, Question, Reply
from server import Server
from way import Program, Way, asking

from llmtrace.errors import ReplayDiverged
from llmtrace.model import Inference, JsonValue, Span, Trace, replace
from llmtrace.playback import replay
from llmtrace.playback.difference import difference as compare
from llmtrace.playback.edit import Edit, apply, edited
from llmtrace.playback.player import CHANGE, Replay
from llmtrace.playback.recorded_run import RecordedRun
from llmtrace.playback.ways_out import guarded
from llmtrace.recorder import collected
from llmtrace.recorder.player import use_player
from llmtrace.testing import Captured, capture

WITH_TOOLS = Question(tools=True)
ask, read, read_two = asking(), asking(stream=True), asking(stream=True, limit=2)


def record(way: Way, program: Program, url: str) -> tuple[Any, Captured]:
    with capture(instrument=(way.kit.name,), redact=False) as captured:
        seen = way._run(program, url)
        gc.collect()
        collected.settle()
    return seen, captured


def content_of(spans: tuple[Span, ...]) -> list[Span]:
    """Spans without ids, times, lines of the code that raised, and what only a replay has."""
    blank: dict[str, Any] = {"trace_id": "", "span_id": "", "parent_id": None, "start": 0, "end": 0, "run_id": None}
    return [
        replace(
            span,
            **blank,
            recorded=None,
            attributes={name: value for name, value in span.attributes.items() if "replay" not in name},
            operation=replace(span.operation, time_to_first_chunk=None),
            events=(),
            evaluations=tuple(
                replace(evaluation, evidence=without_place(evaluation.evidence)) for evaluation in span.evaluations
            ),
            failure=None if span.failure is None else replace(span.failure, stacktrace=""),
        )
        for span in spans
    ]


def without_place(evidence: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The evidence of a finding without the line that raised: a recorded exception is raised elsewhere."""
    return {
        name: re.sub(r", raised at \S+ in [\w.<>]*[\w>]", "", text) if isinstance(text, str) else text
        for name, text in evidence.items()
    }


def without_cause(seen: Any) -> Any:
    """An exception by type and text; what the transport's own exception was caused by is not recorded."""
    return (seen[0], seen[1]) if isinstance(seen, tuple) and len(seen) == 3 and isinstance(seen[0], str) else seen


def check(way: Way, program: Program, reply: Reply) -> None:
    with Server(reply) as server:
        seen, captured = record(way, program, server.url)
        sent = len(server.requests)
        trace = captured.traces[0]
        with capture(instrument=(way.kit.name,), redact=False) as again, replay(trace) as replayed:
            assert without_cause(way._run(program, server.url)) == without_cause(seen)
            gc.collect()
            collected.settle()
        assert len(server.requests) == sent
    assert replayed.served == 1
    for made, recorded in zip(content_of(again.spans), content_of(captured.spans), strict=True):
        for name in made.__dataclass_fields__.keys() - (HOW_IT_ENDED if program is read_two else set()):
            assert getattr(made, name) == getattr(recorded, name), name


HOW_IT_ENDED = {"failure", "attributes", "evaluations"}
"""What says how a span ended."""
CALLS_SEEN: dict[str, tuple[Program, Callable[[Any], Reply]]] = {
    "whole": (ask, lambda kit: kit.whole(Answer())),
    "tool calls": (asking(WITH_TOOLS), lambda kit: kit.whole(CALLS)),
    "stream": (read, lambda kit: kit.streamed(Answer())),
    "stream that is left": (read_two, lambda kit: kit.streamed(Answer())),
    "stream that breaks": (read, lambda kit: kit.streamed(Answer()).broken(2)),
    **{f"error {status}": (ask, lambda kit, status=status: kit.error(status)) for status in (400, 429, 500)},
}


@pytest.mark.parametrize("call", CALLS_SEEN)
def test_a_replay_is_what_was_recorded(way: Way, call: str) -> None:
    """How the span of a stream that is left ends is up to the event loop, which closes the connection, or has none to close."""
    program, reply = CALLS_SEEN[call]
    check(way, program, reply(way.kit))


def test_a_refused_connection_is_refused_again(way: Way) -> None:
    """By the word that the span has: agents around the call get it from what the exception was caused by."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    seen, captured = record(way, ask, url)
    with capture(instrument=(way.kit.name,), redact=False) as again, replay(captured.traces[0]):
        assert without_cause(way._run(ask, url)) == without_cause(seen)
    words = [span.failure and span.failure.type for spans in (captured.spans, again.spans) for span in spans]
    assert set(words) == {"connection_refused"}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_edited_answer(way: Way, is_streamed: bool) -> None:
    """An argument of a call gets another value, whatever form the answer has, and in whatever pieces it came."""
    reply, program = way.kit.streamed(CALLS) if is_streamed else way.kit.whole(CALLS), asking(WITH_TOOLS, stream=is_streamed)
    with Server(reply) as server:
        _, captured = record(way, program, server.url)
        trace = captured.traces[0]
        (span,) = trace.spans
        edit = Edit(span.span_id, "look_up/order_id", "99 “ü”")
        with capture(instrument=(way.kit.name,), redact=False) as again, replay(Trace([edited(span, edit)])):
            way._run(program, server.url)
            gc.collect()
            collected.settle()
    operation = again.spans[0].operation
    assert isinstance(operation, Inference)
    calls = [call.arguments for message in operation.output for call in message.tool_calls()]
    assert calls == [{"order_id": "99 “ü”"}, {"order_id": "8"}]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_an_edited_request(way: Way, is_streamed: bool) -> None:
    """The call is made for real, with one text changed in the body that the library makes; the span shows what was asked."""
    answer = Answer()
    reply, program = (way.kit.streamed(answer), read) if is_streamed else (way.kit.whole(answer), ask)
    with Server(reply) as server:
        seen, captured = record(way, program, server.url)
        trace = captured.traces[0]
        (span,) = trace.spans
        asked = server.requests[-1].body
        place = next(place for place, text in texts(json.loads(asked)) if text == Question().text)
        run = RecordedRun([trace])
        apply(run, Edit(span.span_id, place, "Where is “order” 8?"))
        with capture(instrument=(way.kit.name,), redact=False) as again:
            player = Replay(run, live_after=CHANGE, request_of=span.span_id)
            before = use_player(player)
            try:
                with guarded(player.guard()):
                    assert way._run(program, server.url) == seen
            finally:
                use_player(before)
            gc.collect()
            collected.settle()
        player.finish()
        sent = json.loads(server.requests[-1].body)
    assert (player.divergences, player.served, player.live, player.progress.request) == ([], 0, 1, asked.decode())
    assert dict(texts(sent)) == {**dict(texts(json.loads(asked))), place: "Where is “order” 8?"}
    assert again.spans[0].attributes["llmtrace.replay.edited"] == span.span_id
    assert isinstance(again.spans[0].operation, Inference)
    assert isinstance(span.operation, Inference)
    difference = compare(span.operation, again.spans[0].operation)
    assert difference is not None
    assert "[-order 7?-] {+“order” 8?+}" in difference.text


def texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, by its pointer."""
    for name, member in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from texts(member, f"{place}/{name}")
    if isinstance(value, str):
        yield place, value


def test_another_question_is_refused(way: Way) -> None:
    with Server(way.kit.whole(Answer())) as server:
        _, captured = record(way, ask, server.url)
        sent = len(server.requests)
        with (
            pytest.raises(ReplayDiverged, match=r"\[-7\?-\] \{\+8\?\+\}") as raised,
            capture(instrument=(way.kit.name,)),
            replay(captured.traces[0]),
        ):
            way._run(asking(Question(text="Where is order 8?")), server.url)
        assert raised.value.kind == "changed"
        assert len(server.requests) == sent
