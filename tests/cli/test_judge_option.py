"""``llmtrace why --judge``: both opinions in every form, and the diagnosis all the same where the judge fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.store import Query, open_store
from tests.cli.traces import SECOND, SILENT, Maker, answers, append_to, chat, user

HOSTILE = "\x1b[2J</script><img src=x>\n# head `![x](http://x)` \u202e"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A judge that blames the first suspect, in hostile words; the questions that it was asked."""
    questions: list[Any] = []

    def script(messages: Any) -> dict[str, Any]:
        questions.append(messages)
        number = len(json.loads(messages[1]["content"])["suspects"])
        held = [{"suspect": n, "probability": float(n == 1), "reason": HOSTILE} for n in range(1, number + 1)]
        return {"role": "assistant", "content": json.dumps({"verdicts": held})}

    with ModelServer(script, pace=0) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield questions


def recorded(store: str) -> set[tuple[str, ...]]:
    opened = open_store(store)
    try:
        return {(span.trace_id, span.span_id) for span in opened.spans(Query(limit=1000))}
    finally:
        opened.close()


def test_without_a_suspect_nobody_is_asked(llmtrace: Callable[..., Any], tmp_path: Path, asked: list[Any]) -> None:
    """And that is said, on stderr."""
    append_to(
        str(tmp_path / "store"),
        Maker("d" * 32, time.time_ns() - SECOND).span(1, None, "chat m", chat([user("hi")], answers("hello"))),
    )
    ran = llmtrace("why", "--judge", "m", "--store", str(tmp_path / "store"))
    assert (ran.code, ran.err, asked) == (0, "llmtrace why: the judge m was not asked, because there is no suspect.\n", [])


def test_the_opinion_is_shown_escaped(llmtrace: Callable[..., Any], store: str, asked: list[Any]) -> None:
    """Text, Markdown and JSON have it beside the evidence, which it does not change; its words are text and nothing else."""
    alone = json.loads(llmtrace("why", SILENT, "--json", "--store", store).out)
    assert asked == []
    before = recorded(store)
    assert before
    text = llmtrace("why", SILENT, "--judge", "m", "--store", store)
    assert "Judge m says 100 %: " in text.out
    assert "\x1b" not in text.out
    assert "\u202e" not in text.out
    assert text.err == ""
    page = llmtrace("why", SILENT, "--judge", "m", "--markdown", "--store", store).out
    lines = [line for line in page.splitlines() if "Judge m says" in line]
    assert lines[0].startswith("* `Judge m says 100 %")
    assert all(line.count("`") == 2 and line.endswith("`") for line in lines)
    assert "\x1b" not in page
    told = json.loads(llmtrace("why", SILENT, "--judge", "m", "--json", "--store", store).out)
    opinion = told.pop("judge")["opinions"][0]
    assert (opinion["span_id"], opinion["title"]) == (alone["suspects"][0]["span_id"], alone["suspects"][0]["title"])
    assert (opinion["probability"], opinion["reason"]) == (1.0, HOSTILE)
    assert told == alone
    assert len(asked) == 3
    assert recorded(store) == before


def test_a_judge_that_fails_leaves_the_diagnosis(llmtrace: Callable[..., Any], store: str) -> None:
    """One line on stderr, the same text as without it, exit code 0; JSON says it too."""
    alone = llmtrace("why", SILENT, "--store", store)
    to = ("--judge", "m", "--judge-url", "http://127.0.0.1:9/v1", "--store", store)
    ran = llmtrace("why", SILENT, *to)
    assert (ran.code, ran.out) == (0, alone.out)
    assert ran.err.startswith("llmtrace why: no answer from the judge: m: it cannot be reached")
    told = json.loads(llmtrace("why", SILENT, "--json", *to).out)
    assert "cannot be reached" in told["judge"]["error"]
    assert told["suspects"]


@pytest.mark.parametrize(
    "words",
    [
        ("--judge", "m", "--all"),
        ("--judge", " "),
        ("--judge-url", "http://127.0.0.1:9"),
        ("--judge", "m", "--judge-url", "ftp://x"),
        ("--judge", "m", "--judge-timeout", "0"),
    ],
)
def test_options_that_cannot_work_are_refused(words: tuple[str, ...], llmtrace: Callable[..., Any], store: str) -> None:
    """Many runs, no model, no URL, no time: said before anything is asked."""
    assert llmtrace("why", *words, "--store", store).code == 2
