"""What can be told of a tool and its results without knowing it: whether it changes anything, failed, or found nothing."""

from __future__ import annotations

import re
from functools import lru_cache

from llmtrace.diagnosis.flow import Node
from llmtrace.model import JsonValue, Span, ToolExecution
from llmtrace.semconv import CONTENT_LEVEL
from llmtrace.signals._calls import polls
from llmtrace.signals._results import is_error

_READS = frozenset(
    """get find fetch look lookup search list read show check query retrieve view describe count calculate compute convert
    translate validate verify estimate summarize summarise think plan browse visit open inspect load scan select compare grep
    glob ls cat head tail""".split()  # noqa: SIM905  a word list reads better
)
_TELLS = frozenset(
    "status state progress details info history balance weather forecast price prices rate rates availability".split()  # noqa: SIM905
)
"""Last words of the names of tools that tell something, if no verb comes first."""
_CHANGES = frozenset(
    """set update change modify edit create add delete remove cancel send post put write save mark reset patch replace apply
    toggle clear submit push fix""".split()  # noqa: SIM905
)
_EMPTY = frozenset(("", "[]", "{}", "null", "None", '""'))
_NOTHING_FOUND = re.compile(r"\s*(?:no |none|nothing|not found|0 )[\w ]{0,40}\s*\.?\s*", re.IGNORECASE)


def acts(node: Node) -> bool:
    """True if the tool changes something: as it is declared (``@tool(changes=)``, an MCP server's annotations), else by its
    name."""
    execution = node.execution.operation if node.execution is not None else None
    definition = execution.definition if isinstance(execution, ToolExecution) else None
    changes = definition.changes if definition is not None else None
    return _acts_by_name(node.tool) if changes is None else changes


@lru_cache(maxsize=1024)
def _acts_by_name(tool: str) -> bool:
    """True unless the name says that it only reads. Better a reader taken for an actor than the other way round."""
    words = [word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", tool)]
    if words and words[-1] in _TELLS and _CHANGES.isdisjoint(words):
        return False
    return _READS.isdisjoint(words)


def has_failed(node: Node) -> bool:
    """True if the call was refused, raised, or answered with an error. No result is no failure: it may not be recorded."""
    if node.execution is not None and node.execution.failure is not None:
        return True
    return node.refused or (node.has_result and is_error(node.result))


def is_polled(node: Node) -> bool:
    """True if the tool is declared to be called again on purpose."""
    execution = node.execution.operation if node.execution is not None else None
    return isinstance(execution, ToolExecution) and polls(execution)


def is_left_out(span: Span) -> bool:
    """True if messages, arguments and results were not recorded, or not handed on."""
    return span.attributes.get(CONTENT_LEVEL) == "none"


def found_nothing(node: Node) -> bool:
    """True if a tool that reads answered with nothing in it."""
    if not node.has_result or acts(node) or has_failed(node):
        return False
    return is_empty(node.result if node.structure is None else node.structure)


def is_empty(result: JsonValue) -> bool:
    """True for null, an empty text, list or object, "no … found", and an object whose lists are all empty."""
    if isinstance(result, str):
        bare = result.strip()
        return bare in _EMPTY or bool(_NOTHING_FOUND.fullmatch(bare))
    if isinstance(result, dict):
        lists = [member for member in result.values() if isinstance(member, (list, dict))]
        return not result or (bool(lists) and not any(lists)) or all(member in (None, "") for member in result.values())
    return result is None or result == []


def is_silent(result: JsonValue) -> bool:
    """True for null and an empty text: some tools never answer anything else."""
    return result is None or (isinstance(result, str) and result.strip() in ("", "null", "None", '""'))
