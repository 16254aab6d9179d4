"""Traces, diagnoses and comparisons as HTML fragments, which notebooks show (``_repr_html_``). Pure.

Laws: all text is escaped, so that nothing a model wrote becomes markup. A fragment needs no script and no style sheet, loads
nothing, and is bounded: what is left out is said.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from llmtrace.model.operations import AgentInvocation, Inference, ToolExecution, Workflow

if TYPE_CHECKING:
    from llmtrace.model.spans import Span
    from llmtrace.model.traces import Trace

MOST_ROWS: Final = 200
MOST_CHARACTERS: Final = 300
"""Characters of one text."""
_DEEPEST: Final = 20
_COLOURS: Final = {
    "failed": "#b3261e",
    "certain": "#b3261e",
    "only in the first": "#b3261e",
    "suspect": "#9a3d0a",
    "recovered": "#855300",
    "likely": "#855300",
    "changed": "#855300",
    "ok": "#2a6b45",
    "only in the second": "#2a6b45",
    "running": "#1d5f9e",
}
"""Grounds of white text."""
_ALLOWED: Final = "\n\t\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Characters that stay, though they are not printable: others may reorder or hide the text around them."""
_CELL: Final = "padding:2px 10px 2px 0;text-align:left;vertical-align:top;border-top:1px solid #8884;overflow-wrap:anywhere"


Card: TypeAlias = tuple[str, str, Sequence[str]]
"""A word that is coloured (or none), a title and paragraphs."""


def trace_as_html(trace: Trace, health: str | None = None, cards: Iterable[Card] = ()) -> str:
    """A trace: its health, task and answer, what was found, and its spans as a tree.

    ``health``: of its diagnosis. Without one, no colour says that all is well.
    """
    if not trace.spans:
        return _fragment("trace", [], "")
    rows = []
    for depth, span in islice(trace.walk(), MOST_ROWS):
        name = f'<span style="padding-left:{min(depth, _DEEPEST) * 14}px">{escape(span_title(span), 80)}</span>'
        took = f'<span style="white-space:nowrap">{escape(duration(span.duration))}</span>'
        rows.append([name, escape(_what(span)), took, _findings(span)])
    ends = [span.end for span in trace.spans if span.end is not None]
    seconds = (max(ends) - trace.spans[0].start) / 1e9 if ends else None
    facts = [trace.trace_id, f"{len(trace)} span{'' if len(trace) == 1 else 's'}", duration(seconds)]
    word = health or (trace.health if trace.health not in ("ok", "recovered") else "")
    body = _messages(trace.root) + _cards(cards) + _table(("step", "what", "took", "found"), rows, len(trace))
    return _fragment("trace", [chip(word), *map(escape, facts)], body)


def span_title(span: Span) -> str:
    """The model, tool or agent of a span, else its name."""
    operation = span.operation
    return (operation.model if isinstance(operation, Inference) else getattr(operation, "name", "")) or span.name


def cards_as_html(title: str, facts: Sequence[str], cards: Iterable[Card], notes: Sequence[str]) -> str:
    """Findings, and notes below them. ``facts`` and ``notes`` are plain text."""
    body = _cards(cards) + "".join(f"<div>{escape(note)}</div>" for note in notes[:MOST_ROWS])
    return _fragment(title, [escape(fact) for fact in facts], body)


def _cards(cards: Iterable[Card]) -> str:
    parts = []
    listed = list(cards)
    for word, heading, paragraphs in listed[:MOST_ROWS]:
        text = "".join(f"<div>{escape(paragraph)}</div>" for paragraph in paragraphs[:MOST_ROWS] if paragraph)
        parts.append(f'<li style="margin:6px 0">{chip(word)} <b>{escape(heading)}</b>{text}</li>')
    return (f'<ol style="padding-left:24px;margin:4px 0">{"".join(parts)}</ol>' if parts else "") + _more(len(listed))


def pairs_as_html(
    title: str, facts: Sequence[str], pairs: Sequence[tuple[str, Span | None, Span | None]], first: int | None
) -> str:
    """The steps of two traces side by side, from shortly before the ``first`` difference on."""
    begin = max(0, (first or 0) - 5)
    rows = [[chip(word) if word != "same" else "same", *map(_step, spans)] for word, *spans in pairs[begin : begin + MOST_ROWS]]
    before = f"<div>{begin} equal steps before</div>" if begin else ""
    return _fragment(
        title, [escape(fact) for fact in facts], before + _table(("", "first", "second"), rows, len(pairs) - begin)
    )


def escape(text: object, limit: int = MOST_CHARACTERS) -> str:
    """Text as HTML, cut to ``limit`` characters. Characters that no HTML may have are replaced."""
    words = str(text)
    shown = words if len(words) <= limit else f"{words[:limit]}…"
    visible = "".join(letter if letter.isprintable() or letter in _ALLOWED else "\N{REPLACEMENT CHARACTER}" for letter in shown)
    return html.escape(visible)


def chip(word: str) -> str:
    """A word on its colour; nothing for no word."""
    ground = _COLOURS.get(word, "#5c636d")
    style = f"background:{ground};color:#fff;border-radius:4px;padding:0 6px;font-weight:600;white-space:nowrap"
    return f'<span style="{style}">{escape(word)}</span>' if word else ""


def duration(seconds: float | None) -> str:
    """Seconds in words of at most six characters."""
    if seconds is None:
        return "–"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _fragment(title: str, facts: Sequence[str], body: str) -> str:
    head = " · ".join([f"<b>{escape(title)}</b>", *filter(None, facts)])
    return f'<div class="llmtrace" style="font:13px/1.5 system-ui,sans-serif"><div>{head}</div>{body}</div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    style = f'style="{_CELL};font-weight:600"'
    head = "".join(f'<th scope="col" {style}>{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td style={_CELL!r}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table style="border-collapse:collapse;margin:6px 0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return table + _more(total)


def _more(total: int) -> str:
    return f"<div>{total - MOST_ROWS} more not shown: llmtrace view shows all</div>" if total > MOST_ROWS else ""


def _messages(root: Span) -> str:
    """The task and the answer of the run, where the root has them."""
    operation = root.operation
    if not isinstance(operation, (AgentInvocation, Workflow, Inference)):
        return ""
    lines = []
    for label, messages, role in (("task", operation.input, "user"), ("answer", operation.output, "assistant")):
        texts = [message.visible_text() for message in messages if message.role == role]
        last = next(filter(None, reversed(texts)), "")
        lines += [f"<div><b>{label}</b> {escape(last, 3 * MOST_CHARACTERS)}</div>"] if last else []
    return "".join(lines)


def _step(span: Span | None) -> str:
    return "" if span is None else f"<b>{escape(span_title(span), 80)}</b> {escape(_what(span))} {_findings(span)}"


def _what(span: Span) -> str:
    """What a model said or asked for, or a tool's arguments and result."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        result = f" → {_json(operation.result)}" if operation.has_result else ""
        return _json(operation.arguments)[:MOST_CHARACTERS] + result
    if isinstance(operation, Inference) and operation.output:
        calls = [f"{call.name}({_json(call.arguments)})" for message in operation.output for call in message.tool_calls()]
        return " ".join([*(message.visible_text() for message in operation.output), *calls]).strip()
    return ""


def _findings(span: Span) -> str:
    """The failure and the findings of a span."""
    words = [span.failure.type] if span.failure is not None else []
    words += [violation.message for violation in span.violations]
    words += [evaluation.name for evaluation in span.evaluations if evaluation.severity != "info"]
    return escape("; ".join(dict.fromkeys(words)))


def _json(content: object) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
