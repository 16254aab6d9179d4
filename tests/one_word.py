"""What each place that speaks of a run says of it: `why`, the root span, `ls`, `check`, the viewer, the MCP server, a test.

`words_of` asks every place; `disagreements` compares the answers; `one_word` returns the one word that all of them say.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import io
import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from llmtrace import semconv
from llmtrace.cli import main
from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.model import Trace, outermost_of
from llmtrace.model.traces import short_id
from llmtrace.reading.order import moments
from llmtrace.store import Query, open_store
from llmtrace.testing.run import StoredRun
from llmtrace.viewer.source import Source
from tests.stored import append

HEALTHS = frozenset({"ok", "recovered", "suspect", "failed", "running"})
MARKS = ("certain", "likely")
_FENCED = re.compile(r"^\| ?", re.MULTILINE)


@dataclass(frozen=True)
class Word:
    """What one place says of a run. None where the place does not say it."""

    health: str | None
    """ok, recovered, suspect, failed or running."""
    confidence: str | None = None
    """Of the worst finding, if it marks the run; else None."""
    title: str | None = None
    """Of the worst finding; it may be cut, and then ends with an ellipsis."""
    span_id: str | None = None
    check: str | None = None
    """Name of the law that found it."""
    shows_marks: bool = True
    """False for a place that shows no more than the health."""
    is_bad: bool | None = None
    """True if the place signals that something is wrong, by an exit code or a flag to search by."""

    @property
    def is_marked(self) -> bool:
        return self.confidence is not None


class Ran(NamedTuple):
    """What a command of llmtrace printed, and its exit code."""

    code: int
    out: str


def run_command(*words: str) -> Ran:
    """Run a command of llmtrace in this process. Fails the test if it prints nothing, with what it complained of."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    assert out.getvalue(), err.getvalue()
    return Ran(code, out.getvalue())


def as_recorded(trace: Trace) -> Trace:
    """Return a trace made by hand as the recorder would have written it: each span is judged when it ends, and the outermost
    one gets the verdict of its run."""
    evaluator, spans = Evaluator(), [span for span in trace.spans if span.end is None]
    runs = dict.fromkeys(span.run_id for span in trace.spans)
    for run_id in runs:
        members = [span for span in trace.spans if span.run_id == run_id]
        state, outermost = evaluator.start(), outermost_of(members)
        for span, has_ended in moments(members):
            if has_ended:
                spans.append(evaluator.step(state, evaluator.without_verdicts(span), outermost=span is outermost))
            else:
                state.timeline.begin(span)
    return Trace(spans, alive=trace.alive)


def words_of(trace: Trace, folder: Path) -> dict[str, Word]:
    """Ask every place about a trace that was recorded. ``folder``: of a store, which holds the trace or gets it.

    The root span of a program that was killed says nothing, since it was never written.
    """
    store = str(folder)
    if not _is_stored(trace, folder):
        append(store, *trace.spans)
    words = {
        "diagnose": _of_diagnosis(diagnose(trace)),
        "diagnose, evaluated again": _of_diagnosis(diagnose(evaluate_trace(trace)[0])),
        "test": _of_test(trace),
        **_of_commands(trace, store),
        **_of_viewer(trace, store),
        **_of_agent_tools(trace, store),
    }
    if semconv.HEALTH in trace.root.attributes:
        words["root span"] = of_root(trace)
    return words


def _is_stored(trace: Trace, folder: Path) -> bool:
    if not folder.exists():
        return False
    with closing(open_store(str(folder))) as store:
        return any(summary.trace_id == trace.trace_id for summary in store.traces(Query(limit=1_000)))


def of_root(trace: Trace) -> Word:
    """Return what the attributes of the root span say, which every backend can search by."""
    attributes = trace.root.attributes
    confidence = attributes.get(semconv.WORST_FINDING_CONFIDENCE)
    return Word(
        str(attributes.get(semconv.HEALTH)),
        str(confidence) if confidence in MARKS else None,
        check=str(attributes[semconv.WORST_FINDING]) if confidence in MARKS else None,
        is_bad=bool(attributes.get(semconv.SUSPECT)),
    )


def _of_diagnosis(diagnosis: Diagnosis) -> Word:
    prime = diagnosis.prime
    if prime is None:
        return Word(diagnosis.health, is_bad=diagnosis.is_wrong)
    return Word(diagnosis.health, prime.confidence, prime.title, prime.span_id, prime.check, is_bad=diagnosis.is_wrong)


def _of_test(trace: Trace) -> Word:
    run = StoredRun(trace)
    if not run.suspects:
        return Word(run.health)
    first = run.suspects[0]
    return Word(run.health, first.confidence, first.title, first.span_id, first.check)


def _of_suspect(health: str, suspect: Mapping[str, Any] | None, *, is_bad: bool | None = None) -> Word:
    """Return the word of a place that shows a suspect as JSON."""
    if suspect is None or suspect["confidence"] not in MARKS:
        return Word(health, is_bad=is_bad)
    return Word(health, suspect["confidence"], suspect["title"], suspect.get("span_id"), suspect.get("check"), is_bad=is_bad)


def _of_commands(trace: Trace, store: str) -> dict[str, Word]:
    def run(*words: str) -> tuple[int, Any]:
        ran = run_command(*words, "--json", "--store", store)
        return ran.code, json.loads(ran.out)

    _, why = run("why", trace.trace_id)
    _, listed = run("ls", "--limit", "1000")
    (row,) = [row for row in listed if row["trace_id"] == trace.trace_id]
    code, checked = run("check", trace.trace_id)
    (judged,) = checked["traces"]
    return {
        "why": _of_suspect(why["health"], next(iter(why["suspects"]), None), is_bad=why["is_wrong"]),
        "ls": _of_suspect(row["health"], row["suspect"]),
        "check": _of_suspect(judged["health"], next(iter(judged["suspects"]), None), is_bad=code == 1),
    }


def _of_viewer(trace: Trace, store: str) -> dict[str, Word]:
    with closing(open_store(store)) as opened:
        source = Source(opened)
        rows = source.traces(Query(limit=1_000), 0)["traces"]
        (row,) = [row for row in rows if row["id"] == trace.trace_id]
        suspicion = source.suspicions([trace.trace_id]).get(trace.trace_id)
        view = source.trace_view(trace.trace_id)
        head, diagnosis = view.rows(0)["trace"], view.diagnosis
    first = next(iter(diagnosis["suspects"]), None)
    return {
        "viewer, list": _of_suspect(row["health"], suspicion),
        "viewer, head of the trace": Word(head["health"], shows_marks=False),
        "viewer, diagnosis": _of_suspect(diagnosis["health"], first),
    }


def _of_agent_tools(trace: Trace, store: str) -> dict[str, Word]:
    """Return what the tools of the MCP server say; nothing where its library is not installed."""
    if importlib.util.find_spec("mcp") is None:
        return {}
    from llmtrace.cli.mcp import run_captured
    from llmtrace.mcp_server.reading_tools import ReadingTools

    tools = ReadingTools(lambda words: run_captured([*words, "--store", store]))
    listed = _unfenced(asyncio.run(tools.list_runs(limit=100)))
    row = re.search(rf"^{short_id(trace.trace_id)} .*\n(?: .*\n?)*", listed, re.MULTILINE)
    assert row is not None, listed
    mark = re.search(rf"^ +\? (.*) \(({'|'.join(MARKS)})(?:, .*)?\)$", row[0], re.MULTILINE)
    why = _unfenced(asyncio.run(tools.why(trace.trace_id)))
    first = re.search(rf"^## (.*) \(({'|'.join(MARKS)})(?:, .*)?\)$", why, re.MULTILINE)
    shown = _unfenced(asyncio.run(tools.show_run(trace.trace_id)))
    title = first[1].replace("\\", "").replace("&lt;", "<").replace("&amp;", "&") if first else None
    return {
        "MCP, list_runs": Word(_health(row[0].split()[2]), mark[2] if mark else None, mark[1] if mark else None),
        "MCP, why": Word(_health_after(f"Trace `{trace.trace_id}`", why), first[2] if first else None, title),
        "MCP, show_run": Word(_health_after(f"trace {trace.trace_id}", shown), shows_marks=False),
    }


def _unfenced(answer: str) -> str:
    return _FENCED.sub("", answer)


def _health(word: str) -> str | None:
    return word if word in HEALTHS else None


def _health_after(start: str, text: str) -> str | None:
    found = re.search(rf"{re.escape(start)}\W+(\w+)", text)
    return _health(found[1]) if found else None


def disagreements(words: Mapping[str, Word]) -> list[str]:
    """Return a line for each way in which the places contradict each other, or one of them itself."""
    marking = {place: word for place, word in words.items() if word.shows_marks}
    answers = {
        "health": {place: word.health for place, word in words.items() if word.health is not None},
        "mark": {place: word.confidence or "not marked" for place, word in marking.items()},
        "span": {place: word.span_id for place, word in marking.items() if word.span_id is not None},
    }
    faults = [f"{name}: {_grouped(said)}" for name, said in answers.items() if len(set(said.values())) > 1]
    titles = {place: word.title for place, word in words.items() if word.title is not None}
    if any(not _is_same(title, other) for title in titles.values() for other in titles.values()):
        faults.append(f"title: {_grouped(titles)}")
    own = {place: fault for place, word in words.items() if (fault := _contradiction(word))}
    return [*faults, _grouped(own)] if own else faults


def _contradiction(word: Word) -> str:
    """Return how a place contradicts itself; empty if it does not."""
    if word.is_marked and word.health in ("ok", "recovered"):
        return f"{word.health}, although {word.confidence}"
    if word.shows_marks and not word.is_marked and word.health == "suspect":
        return "suspect, although not marked"
    if word.is_bad is not None and word.is_bad != (word.is_marked or word.health == "failed"):
        return f"{word.health}, {word.confidence or 'not marked'}, and {'' if word.is_bad else 'not '}flagged as bad"
    return ""


def _grouped(said: Mapping[str, object]) -> str:
    """Return the answers, each with its places, the rarest first."""
    places: dict[object, list[str]] = {}
    for place, content in said.items():
        places.setdefault(content, []).append(place)
    rarest_first = sorted(places.items(), key=lambda answer: len(answer[1]))
    return "; ".join(
        f"{content} ({', '.join(names) if len(names) < 5 else f'{len(names)} places'})" for content, names in rarest_first
    )


def _is_same(title: str, other: str) -> bool:
    """True if two titles are equal as far as they are shown."""
    if other.endswith("…"):
        title, other = other, title
    return other.startswith(title.rstrip("…").rstrip()) if title.endswith("…") else title == other


def one_word(trace: Trace, folder: Path) -> Word:
    """Return what all places say of a trace. Fails the test with their answers if they contradict each other."""
    words = words_of(trace, folder)
    faults = disagreements(words)
    if faults:
        pytest.fail("\n".join(["The places contradict each other.", *faults]), pytrace=False)
    return words["diagnose"]


def of_story(trace: Trace, folder: Path) -> Word:
    """Return what all places say of a trace made by hand."""
    return one_word(as_recorded(trace), folder)
