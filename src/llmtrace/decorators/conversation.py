"""Reads an agent's task and answer from the arguments and the result of its function.

Law: every argument stays visible in the messages, because a tool call below may use it. The newest user message is the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json as dump

from llmtrace.codec.messages import read_messages, read_output
from llmtrace.content import UNSERIALISABLE
from llmtrace.model import JsonValue, Message, Text

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}
_KNOWN_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", *_ROLES})


def read_task(values: Mapping[str, Any], arguments: Mapping[str, JsonValue]) -> tuple[Message, ...]:
    """Return the input of an agent. ``values``: the arguments as the program passed them; ``arguments``: the same as JSON.

    A text argument is the task if it is the only one, and has more than one word or is the only argument. In a history (a list
    of messages, or a state with ``messages``), the newest user message is the task; if that was answered already, the first
    text argument beside the history is. Empty arguments, and clients and other objects that are not JSON, are left out.
    """
    shown = {name: argument for name, argument in arguments.items() if not _is_tool_of_trade(values.get(name), argument)}
    shown = shown or dict(arguments)
    shown = {name: argument for name, argument in shown.items() if argument not in (None, [], {})} or shown
    history: list[Message] = []
    for name, argument in list(shown.items()):
        messages, rest = _read_state(argument)
        if messages:
            history += messages
            del shown[name]
            shown |= {name: rest} if rest else {}
    task: tuple[Message, ...] = ()
    texts = [name for name, argument in shown.items() if isinstance(argument, str)]
    if history[-1].role != "user" if history else len(texts) == 1 and _is_said(shown[texts[0]]):
        task = tuple([Message("user", (Text(shown.pop(name)),)) for name in texts[:1]])
    options = (Message("user", (Text(_one_text(shown)),)),) if shown else ()
    return (*options, *history, *task)


def read_answer(result: JsonValue) -> tuple[Message, ...]:
    """Return the output of an agent: a text, or data as JSON; for a list of messages, those after the newest user message."""
    if result is None:
        return ()
    if isinstance(result, dict) and result.get("role") == "assistant":
        return read_output([result]) or ()
    if isinstance(result, list) and len(result) == 2:  # the answer beside the history, in either order
        texts = [item for item in result if isinstance(item, str)]
        if len(texts) == 1 and any(_read_history(item) or item == [] for item in result if item is not texts[0]):
            return (Message("assistant", (Text(texts[0]),)),)
    messages, rest = _read_state(result)
    if messages:
        users = [place for place, message in enumerate(messages) if message.role == "user"]
        beside = (Message("assistant", (Text(as_text(rest)),)),) if rest else ()
        return (*beside, *(messages[users[-1] + 1 :] if users else messages))
    return (Message("assistant", (Text(as_text(result)),)),)


def as_text(snapshot: JsonValue) -> str:
    """Return a result as text: the chunks of a generator joined, data as JSON."""
    if isinstance(snapshot, list) and snapshot and all(isinstance(item, str) for item in snapshot):
        return "".join(snapshot)
    return snapshot if isinstance(snapshot, str) else dump(snapshot).decode()


def _is_said(argument: JsonValue) -> bool:
    """Return True for a text of more than one word, also in a script without spaces, but not for a name or an id."""
    return isinstance(argument, str) and (" " in argument or not argument.isascii())


def _one_text(arguments: Mapping[str, JsonValue]) -> str:
    """Return the arguments as one text: the only argument if it is a text, else all of them as JSON."""
    only = next(iter(arguments.values())) if len(arguments) == 1 else None
    return only if isinstance(only, str) else as_text(arguments)


def _is_tool_of_trade(value: Any, argument: JsonValue) -> bool:
    """Return True for an object that the agent works with, such as a client or an engine, which is not part of the task."""
    return type(argument) is str and not isinstance(value, str) and argument.startswith(UNSERIALISABLE)


def _read_state(value: JsonValue) -> tuple[tuple[Message, ...], JsonValue]:
    """Return the messages of a history, or of a state with ``messages`` (such as LangGraph's), and the other members of the
    state."""
    if not isinstance(value, dict):
        return _read_history(value), None
    messages = _read_history(value.get("messages"))
    rest = {name: member for name, member in value.items() if name != "messages" and member not in (None, [], {})}
    return messages, rest


def _read_history(argument: JsonValue) -> tuple[Message, ...]:
    """Return the messages of a list in the form of OpenAI, Anthropic or LangChain; empty for anything else."""
    if not isinstance(argument, list) or not argument:
        return ()
    argument = [{"role": item[0], "content": item[1]} if _is_pair(item) else item for item in argument]
    if not all(isinstance(item, dict) for item in argument):
        return ()
    roles = [item.get("role", item.get("type")) for item in argument]
    if not any(isinstance(role, str) and role in _KNOWN_ROLES for role in roles):
        return ()
    if not all(isinstance(role, str) for role in roles):
        return ()
    items = [
        {**item, "role": _ROLES.get(role, role)} if role in _KNOWN_ROLES else item
        for item, role in zip(argument, roles, strict=True)
    ]
    return read_messages(items, "assistant") or ()


def _is_pair(item: JsonValue) -> bool:
    """Return True for a LangChain message of the form ``(role, text)``."""
    return isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item) and item[0] in _KNOWN_ROLES
