"""The page of issues: HTML without a script, made on the server. It is read again with each request.

Law: every text of a run or a person is escaped, so that none becomes markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from llmtrace.issues import Issue, Runs
from llmtrace.issues.words import decided, how_often, state_words, versions, what_it_is, when
from llmtrace.model.traces import short_id

_HEADINGS = {
    "relapsed": "Relapsed",
    "proven": "Proven",
    "open": "Open",
    "fixed": "Fixed",
    "dismissed": "Dismissed",
}


def write(runs: Runs, issues: Sequence[Issue]) -> str:
    """Return the page."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><title>issues · llmtrace</title><link rel="icon" href="data:,">',
        '<link rel="stylesheet" href="/static/viewer.css"></head><body>',
        '<header class="top"><a class="brand" href="/">llmtrace</a><div class="what"><h1>Issues</h1>',
        f'<p class="dim">{_summary(runs, issues)}</p></div></header><main class="issues">',
        *_groups(issues),
        "</main></body></html>",
    ]
    return "\n".join(parts)


def _summary(runs: Runs, issues: Sequence[Issue]) -> str:
    seen = sum(issue.runs > 0 for issue in issues)
    text = f"{seen:,} in {len(runs.judged):,} runs"
    text += f"; {runs.pending:,} runs are still being judged, reload to see them" if runs.pending else ""
    text += f"; {len(runs.faults):,} runs could not be diagnosed" if runs.faults else ""
    return text + ("; older runs were not read" if runs.has_more else "")


def _groups(issues: Sequence[Issue]) -> Iterator[str]:
    if not issues:
        yield '<p class="quiet">No run shows a failure.</p>'
    for state, heading in _HEADINGS.items():
        some = [issue for issue in issues if issue.state == state]
        if some:
            yield f"<h2>{heading}</h2>"
            yield from map(_article, some)


def _article(issue: Issue) -> str:
    runs = " ".join(
        f'<a href="/#/trace/{escape(example.trace_id)}?span={escape(example.span_id)}">{escape(short_id(example.trace_id))}</a>'
        for example in issue.examples
    )
    lines = [
        escape(what_it_is(issue)),
        escape(f"{how_often(issue)}. {when(issue)}."),
        f"Seen with {escape(versions(issue.versions))}" if issue.versions else "",
        f"Newest: {runs}" if runs else "",
        escape(state_words(issue)) if issue.history else "",
    ]
    history = "".join(f"<li>{escape(decided(decision))}</li>" for decision in issue.history)
    command = f"llmtrace issues show {escape(issue.issue)}"
    return (
        f'<article><h3>{escape(issue.title)} <span class="dim">{escape(issue.issue)}</span></h3>'
        + "".join(f"<p>{line}</p>" for line in lines if line)
        + (f"<ol>{history}</ol>" if len(issue.history) > 1 else "")
        + f"<p><code>{command}</code></p></article>"
    )
