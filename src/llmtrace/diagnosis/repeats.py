"""Clues of calls made once too often, and of arguments in a form that the tool's definition shows otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue, place_of, quote
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import is_word, shape
from llmtrace.diagnosis.tools import acts, has_failed, is_polled
from llmtrace.model import Inference, ToolDefinition, Trace

_EXAMPLE = re.compile(r"(?:such as|e\.g\.,?|for example,?|like|example:?)\s+[\"'`]?(#?[\w@./-]{4,40})", re.IGNORECASE)
_PROSE = re.compile(
    r"(?:^|_)(?:thoughts?|summary|reason(?:ing)?|message|description|comments?|notes?|explanation|feedback|instructions?)$"
)
"""Names of arguments that are written in words."""


def done_twice(flow: Flow) -> Iterator[Clue]:
    """A call that changes something, made again with the same arguments although it had gone well."""
    done: dict[tuple[str, str], Node] = {}
    for node in flow.nodes:
        if node.kind != "call" or not node.asked or not acts(node) or not node.arguments or has_failed(node) or is_polled(node):
            continue
        before = done.setdefault((node.tool, repr(node.arguments)), node)
        if before is not node and before.has_result and str(before.result).strip():
            title = f"{node.tool} was done twice"
            evidence = f"{node.tool} had already gone well with the same arguments (span {place_of(before)})."
            advice = f"Give {node.tool} a key against repeats, or have it refuse what is done already."
            yield Clue("twice", place_of(node), title, evidence, advice, "warning", node, value=node.arguments)


def in_another_form(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """An argument that does not look like the example in the definition of its tool."""
    tools = _definitions(trace)
    for node in flow.nodes:
        definition = tools.get(node.tool)
        if node.kind != "call" or definition is None or not isinstance(node.arguments, dict):
            continue
        for name, value in node.arguments.items():
            example = _example(definition, name)
            if _PROSE.search(name) and isinstance(value, str) and is_word(value):
                title = f"{node.tool} was called with a {name} that is an identifier"
                evidence = f"/{name} is nothing but {quote(value)}, where its name asks for words."
                advice = f"Give {name} a least length in the schema of {node.tool}; see whether another tool was meant."
                yield Clue("odd_form", node.span_id, title, evidence, advice, "warning", node, None, f"/{name}", value)
                break
            if example is not None and isinstance(value, str) and value and not _alike(example, value):
                title = f"{node.tool} was called with a {name} of another form"
                evidence = f"/{name} is {quote(value)}; the definition of {node.tool} shows {quote(example)}."
                advice = f"Give {name} a pattern in the schema of {node.tool}."
                yield Clue("odd_form", node.span_id, title, evidence, advice, "warning", node, None, f"/{name}", value)
                break


def _definitions(trace: Trace) -> dict[str, ToolDefinition]:
    found: dict[str, ToolDefinition] = {}
    for span in trace.spans:
        if isinstance(span.operation, Inference):
            for tool in span.operation.tools:
                found.setdefault(tool.name, tool)
    return found


def _example(definition: ToolDefinition, name: str) -> str | None:
    properties = definition.parameters.get("properties") if isinstance(definition.parameters, dict) else None
    described = properties.get(name) if isinstance(properties, dict) else None
    text = described.get("description") if isinstance(described, dict) else None
    found = _EXAMPLE.search(text) if isinstance(text, str) else None
    return found.group(1).strip(".") if found is not None else None


def _alike(example: str, value: str) -> bool:
    """Both with or both without digits, a sign before them, an ``@``; of digits alone the same number."""
    if example.isdigit() and value.isdigit():
        return True
    if shape(example) == shape(value) or ("@" in example and "@" in value):
        return True
    marks = [(any(c.isdigit() for c in text), text[0] in "#$+", "@" in text, "_" in text) for text in (example, value)]
    return marks[0] == marks[1]
