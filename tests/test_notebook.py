"""What a notebook shows of traces, diagnoses and comparisons: HTML that holds nothing but text of others, and little of it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace import store
from llmtrace.cli import main
from llmtrace.codec.genai import encode
from llmtrace.diagnosis import diagnose
from llmtrace.diagnosis.difference import compare
from llmtrace.errors import ConfigurationError, StoreError, TraceNotFound
from llmtrace.model import AgentInvocation, Failure, ToolCall, ToolExecution, Trace, Violation
from tests.cli.traces import Maker, answers, asks, chat, recovered, silent, user
from tests.stored import recording

HOSTILE = "</td></div><script>alert(1)</script><img src=x onerror='alert(1)'>\" style=\"x\ud800\u202e"
TAGS = {"div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "ol", "li"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"style", "class", "scope"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def shown(thing: Any) -> str:
    """The text of a fragment that is whole, has only tags and attributes of ours, and can be encoded."""
    reader = _Reader()
    fragment = thing._repr_html_()
    fragment.encode()
    assert len(fragment) < 400_000
    reader.feed(fragment)
    assert reader.open == []
    return reader.text


def hostile(number: int) -> Trace:
    maker, call = Maker(f"{number:032x}", 10**18), ToolCall(HOSTILE, {HOSTILE: HOSTILE * 20}, HOSTILE)
    agent = AgentInvocation(HOSTILE, input=(user(HOSTILE),), output=(answers(HOSTILE),))
    spans = [maker.span(1, None, HOSTILE, agent, took=9.0)]
    broken = Violation("missing", HOSTILE, "required", HOSTILE, tool=HOSTILE)
    for at in range(2, 500, 2):
        spans.append(
            maker.span(
                at, at - 1 if at < 60 else 1, HOSTILE, chat([user(HOSTILE)], asks(call), model=HOSTILE), violations=(broken,)
            )
        )
        failure = Failure(HOSTILE, HOSTILE) if at % 4 or number == 1 else None
        tool = ToolExecution(HOSTILE, call.arguments, HOSTILE * 20, True, HOSTILE)
        spans.append(maker.span(at + 1, 1, HOSTILE, tool, failure=failure))
    return Trace(spans)


def test_nothing_of_others_becomes_markup() -> None:
    """Names, messages, arguments, results, failures: as text, of a trace that is long, deep and large in each place."""
    trace, changed = hostile(1), hostile(2)
    assert "more not shown" in shown(trace)
    assert "<script>alert(1)</script>" in shown(trace)
    shown(diagnose(trace))
    assert "first difference at step" in shown(compare(trace, changed))
    shown(Trace([]))


def test_what_is_shown() -> None:
    """Health, task, answer and steps; the suspect with its evidence and chain; the first difference."""
    first, second = Trace(recovered()), Trace(silent())
    text = shown(first)
    assert "recovered" not in text  # only a diagnosis can say that nothing marks a trace
    for part in ("Refund the 42 EUR", "Done: I refunded", "refund", "invalid_tool_call"):
        assert part in text
    diagnosis = diagnose(second)
    assert diagnosis.suspects[0].title in shown(diagnosis)
    assert diagnosis.suspects[0].evidence.split(".")[0][:60] in shown(diagnosis)
    assert "the same steps" in shown(compare(first, first))


def test_the_last_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the store that is recorded into; without `configure`, of the default one; an error where there is none."""
    monkeypatch.setenv("LLMTRACE_STORE", str(tmp_path / "store"))
    with pytest.raises(StoreError):
        llmtrace.last()
    with recording(tmp_path / "store"):
        with llmtrace.agent("helper") as span:
            span.output = "done"
        assert "helper" in shown(llmtrace.last())
    assert "helper" in shown(llmtrace.last())


def test_a_trace_says_what_the_commands_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its health, suspect and tree are those of ``why``, ``ls`` and ``show``; no green word stands over a suspect."""
    folder = str(tmp_path / "store")
    with store.open_store(folder) as kept:
        kept.append_all(map(encode, silent()))
    with llmtrace.open_store(folder) as opened:
        trace = opened.trace()
        assert trace.why() == diagnose(Trace(silent()))
        assert trace.health == trace.why().health == "suspect"
        suspect = trace.why().marked[0]
        text = shown(trace)
        assert text.index("suspect") < text.index(suspect.title) < text.index("step")
        assert "ok" not in text.split()
        assert [suspect.title, suspect.evidence] == [str(trace.why()).partition(" (")[0], str(trace.why()).split("\n")[1]]
        assert repr(trace) == f"<trace {trace.trace_id[:8]} of {trace.summary.title[0]}: suspect, {len(trace)} spans>"
        assert repr(trace.why()).startswith(f"<diagnosis of {trace.trace_id[:8]}: suspect. {suspect.title}")
        trace.show()
        printed = capsys.readouterr().out
    main(["show", "last", "--store", folder])
    assert printed == capsys.readouterr().out


def test_traces_are_found_by_the_filters_of_ls(tmp_path: Path) -> None:
    """By each that is given, newest first, one after the other; a wrong filter or value is an error."""
    with recording(tmp_path / "store"):
        for number in range(3):
            with llmtrace.context(user=f"u-{number % 2}"), llmtrace.agent(f"agent {number}") as span:
                span.output = f"answer {number}"
        own = llmtrace.open_store()
        assert [trace.root.name for trace in own.traces()] == [f"invoke_agent agent {number}" for number in (2, 1, 0)]
        assert [trace.summary.answer for trace in own.traces(user="u-0")] == ["answer 2", "answer 0"]
        own.close()
        assert len(list(own.traces(limit=2, since="yesterday"))) == 2
    with llmtrace.open_store(tmp_path / "store") as opened:
        assert [trace.summary.answer for trace in opened.traces(agent="agent 1", text="answer")] == ["answer 1"]
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'agnet'. Did you mean 'agent'?"):
            opened.traces(agnet="x")
        with pytest.raises(ConfigurationError, match=r"traces\(since='soon'\): expected a time such as"):
            opened.traces(since="soon")
        with pytest.raises(TraceNotFound):
            opened.trace("0123")
