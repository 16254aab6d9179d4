"""Clues of results: cut off in the middle, in another form than before, or giving orders to the model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder

from llmtrace.content.scan import in_ascii, matcher
from llmtrace.diagnosis.clue import Clue, place_of
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.tools import has_failed
from llmtrace.model import JsonValue, Trace

_ORDERS = re.compile(
    r"(?:ignore|disregard|forget)\s+(?:\w+\s+){0,2}(?:previous|prior|earlier|above|all)\b|\bsystem (?:notice|message|prompt)\b"
    r"|\b(?:do not|don't|never)\s+(?:tell|inform|mention|alert)\b.{0,20}\b(?:user|customer|human|anyone)"
    r"|\b(?:assistant|ai|agent|model)\b[^.]{0,20}\b(?:must|you must|should now)\b"
    r"|\byou must (?:now )?(?:proceed|use|call|send|transfer)\b",
    re.IGNORECASE,
)
_MAY_GIVE_ORDERS = matcher(
    "(?i)" + _ORDERS.pattern.replace(r"\b", r"(?-u:\b)").replace(r"\s", r"[\s\x1c-\x1f?]").replace(r"\w", "[a-z0-9_?]")
)
"""Matches wherever `_ORDERS` does, a question mark standing for what is not ASCII, and is found many times faster."""
_LONGEST_READ = 1 << 16
_MARK = 8
"""Characters within which a bracket that is no JSON shows it: ``[INFO] …``."""
_PROGRAMS = frozenset(("sql", "query", "statement", "code", "script", "cmd", "command", "expression", "jq", "graphql"))
"""Names of arguments that hold a program, a query, a command."""
_ALIKE = 0.5
"""Share of equal members below which two results have another form."""


def cut_off(flow: Flow) -> Iterator[Clue]:
    for node in flow.nodes:
        text = node.result
        if node.kind != "call" or not isinstance(text, str) or text.lstrip()[:1] not in ("{", "[") or len(text) < 3:
            continue
        if node.structure is None and text.rstrip()[-1:] not in ("}", "]") and _is_open(text):
            title = f"the result of {node.tool} ends in the middle"
            evidence = f"The result of {node.tool} begins as JSON and is cut off after {len(text)} characters."
            advice = f"Have {node.tool} give fewer fields or pages, and raise the limit that cuts its results."
            yield Clue("cut_result", place_of(node), title, evidence, advice, "warning", node, value=node.arguments)


def _is_open(text: str) -> bool:
    """Whether JSON begins here and its end is missing; a text that begins with a bracket of its own (``[INFO] …``) is none."""
    try:
        JSONDecoder().raw_decode(text.lstrip())
    except JSONDecodeError as error:
        return not text.lstrip().startswith("[") or error.pos > _MARK
    except RecursionError:
        return True
    return False


def reshaped(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """A result in another form than the tool's results before. What an invalid call brought tells nothing of that form."""
    invalid = {
        flow.node_of(span, found.call_id)
        for span in trace.spans
        for found in span.violations
        if found.where == "arguments" and found.severity == "error"
    }
    usual: dict[str, tuple[str, dict[str, str]]] = {}
    for node in flow.nodes:
        if node.kind != "call" or node.structure is None or has_failed(node) or node in invalid or _runs_anything(node):
            continue
        form = _form(node.structure)
        before = usual.setdefault(node.tool, form)
        what = _difference(before, form)
        if what:
            title = f"{node.tool} answered in another form than before"
            evidence = f"The result of {node.tool} {what}."
            advice = f"Pin the version of {node.tool}, and give it an output schema so that a change is seen at once."
            yield Clue("other_shape", place_of(node), title, evidence, advice, "warning", node, value=node.arguments)


def _runs_anything(node: Node) -> bool:
    """True for a call that says in a language of its own what it wants: its results have no form of the tool's."""
    return isinstance(node.arguments, dict) and not _PROGRAMS.isdisjoint(map(str, node.arguments))


def _form(structure: JsonValue) -> tuple[str, dict[str, str]]:
    if isinstance(structure, dict):
        return "an object", {str(name): type(member).__name__ for name, member in structure.items() if member is not None}
    first = structure[0] if isinstance(structure, list) and structure else None
    if isinstance(first, dict):
        return "a list of objects", {str(name): type(member).__name__ for name, member in first.items() if member is not None}
    return ("a list", {})


def _difference(before: tuple[str, dict[str, str]], now: tuple[str, dict[str, str]]) -> str:
    if not before[1] or (not now[1] and now[0] == "a list"):
        return ""  # an empty list says nothing of its form
    if before[0] != now[0]:
        return f"is {now[0]}, where it was {before[0]} before"
    shared = before[1].keys() & now[1].keys()
    smaller = min(len(before[1]), len(now[1]))
    if len(shared) < _ALIKE * smaller:
        return f"shares {len(shared)} of its {len(now[1])} members with the one before"
    other = sorted(name for name in shared if before[1][name] != now[1][name] and not _numbers(before[1][name], now[1][name]))
    if len(other) > _ALIKE * len(shared):
        return f"has members of other types than before ({', '.join(other[:3])})"
    return ""


def _numbers(one: str, other: str) -> bool:
    return {one, other} <= {"int", "float"}


def giving_orders(flow: Flow) -> Iterator[Clue]:
    """A result that speaks to the model: somebody else may have written it."""
    for node in flow.nodes:
        if node.kind != "call" or not node.has_result:
            continue
        text = _as_text(node)
        found = _ORDERS.search(text) if _MAY_GIVE_ORDERS(in_ascii(text)) else None
        if found is not None:
            title = f"the result of {node.tool} gives orders to the model"
            evidence = f"It says “{found.group()[:80]}”, which is no data."
            advice = f"Have the program mark what {node.tool} brings in as data, and a person approve what is done with it."
            yield Clue("orders", place_of(node), title, evidence, advice, "error", node, value=node.arguments)


def _as_text(node: Node) -> str:
    return (node.result if isinstance(node.result, str) else str(node.result))[:_LONGEST_READ]
