"""How signals tell that a tool was called again: by its name, its arguments and what came of it, as digests.

"The same" arguments are the same JSON, whatever the order of members. Digests hold within one process.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from pydantic_core import to_json

from llmtrace.model import JsonValue, Span, ToolExecution

SHORT = 1000
"""Bytes of arguments, and characters of a result, up to which a signal may keep them to look at them again."""

_CONTAINERS = (dict, list)
_EMPTY: tuple[JsonValue, ...] = ("", [], None)
_WORD = re.compile(r"\w+")


class Call(NamedTuple):
    arguments: int | None
    """Equal for equal arguments; None where they are not known or no JSON."""
    size: int
    """Bytes of the arguments as JSON."""
    result: int | None
    """Equal for equal results, or failures; None where nothing came, or no JSON."""
    written: str | bytes
    """The result as text or JSON, of which the digest is; empty where there is none. Not to be kept: it may be long."""


_last: tuple[Span | None, Call] = (None, Call(None, 0, None, ""))
"""Several signals look at one span, one after the other."""


def called(span: Span, execution: ToolExecution) -> Call:
    """The digests of a call. ``execution`` is the span's operation."""
    global _last
    known, call = _last
    if known is span:
        return call
    arguments, size = _arguments_digest(execution.arguments)
    result, written = _result_digest(span, execution)
    call = Call(arguments, size, result, written)
    _last = (span, call)
    return call


def polls(execution: ToolExecution) -> bool:
    """True if the tool is declared to be called again on purpose."""
    return execution.definition is not None and execution.definition.polls


def alike(one: JsonValue, other: JsonValue) -> bool:
    """Whether arguments differ in case, punctuation, order of words, empty members and the types of numbers only."""
    return not _differ(one, other) and bool(_gist(one) == _gist(other))


def _differ(one: JsonValue, other: JsonValue) -> bool:
    """True where they surely do: told at the first member that does, where the gist takes all of them."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and any(_differ(member, other[name]) for name, member in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(_differ, one, other))
    if isinstance(one, _CONTAINERS) or isinstance(other, _CONTAINERS):
        return False
    return bool(_gist(one) != _gist(other))


def _gist(arguments: JsonValue) -> JsonValue:
    if isinstance(arguments, dict):
        members = ((str(name).casefold(), _gist(member)) for name, member in arguments.items())
        return sorted((name, member) for name, member in members if member not in _EMPTY)
    if isinstance(arguments, list):
        return [_gist(item) for item in arguments]
    if isinstance(arguments, str):
        words = _WORD.findall(arguments.casefold())
        return " ".join(sorted(words)) if words else arguments.strip()
    return "" if arguments is None else f"{arguments:g}" if type(arguments) is float else str(arguments).casefold()


def _arguments_digest(arguments: JsonValue) -> tuple[int | None, int]:
    if arguments is None:
        return None, 0
    try:
        try:
            written = to_json(_in_order(arguments), inf_nan_mode="constants")
            return hash(written), len(written)
        except ValueError:  # a lone surrogate; the other encoder takes 10 µs more
            text = json.dumps(arguments, sort_keys=True)
            return hash(text), len(text)
    except (TypeError, ValueError, RecursionError):
        return None, 0


def _in_order(value: JsonValue) -> JsonValue:
    """The same with the members of every object sorted by name."""
    if type(value) is dict:
        members = value.items() if len(value) == 1 else sorted(value.items())
        return {name: _in_order(member) if type(member) in _CONTAINERS else member for name, member in members}
    return [_in_order(item) if type(item) in _CONTAINERS else item for item in value] if type(value) is list else value


def _result_digest(span: Span, execution: ToolExecution) -> tuple[int | None, str | bytes]:
    """A tool builds its results in one order, so that is not undone: it may be long."""
    result = execution.result
    if not execution.has_result:
        return hash((span.failure.type, span.failure.message)) if span.failure else None, ""
    if isinstance(result, str):
        return hash(result), result
    try:
        written = to_json(result)
        return hash(written), written
    except (TypeError, ValueError, RecursionError):
        return None, ""
