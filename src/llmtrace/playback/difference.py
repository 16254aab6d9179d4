"""Describes how a request differs from the recorded one, so that a person can act on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from llmtrace.codec import json_text, messages
from llmtrace.codec.recorded import request_digest
from llmtrace.model import Failure, Inference, Message, Operation, Span, ToolExecution, replace
from llmtrace.text.word_difference import LONGEST, word_difference

Loose: TypeAlias = bool | Literal["prompts"]
"""Which requests get the recorded answer although they differ: none, all, or those of models with another prompt."""

_INSTRUCTIONS = frozenset({"system", "developer"})
"""Roles of messages that are the program's own words to the model."""


class Difference(NamedTuple):
    """The first difference of two requests."""

    text: str
    """One sentence."""
    was: str = ""
    """The recorded text that changed, in full; empty if something is new or absent."""
    now: str = ""


def difference(recorded: Operation, current: Operation) -> Difference | None:
    """Return the first difference between two operations, or None if all recorded fields are equal."""
    if isinstance(recorded, Inference) and isinstance(current, Inference):
        return _of_inferences(recorded, current)
    if isinstance(recorded, ToolExecution) and isinstance(current, ToolExecution):
        return _of_values("arguments", recorded.arguments, current.arguments)
    return None if recorded == current else Difference(f"{type(recorded).__name__} asks for something else")


def difference_of_outcomes(recorded: Span, current: Operation, failure: Failure | None) -> Difference | None:
    """Return the difference of what came of an agent or workflow, and of a new run with the same task, or None."""
    errors = [None if failed is None else failed.type for failed in (recorded.failure, failure)]
    if errors[0] != errors[1]:
        was, now = (f"failed with {error}" if error else "ended well" for error in errors)
        return Difference(f"it {was}, and now {now}")
    operations = (recorded.operation, current)
    tasks, answers = ([getattr(operation, name, ()) for operation in operations] for name in ("input", "output"))
    if tasks[0] != tasks[1] or _values_of(answers[0]) == _values_of(answers[1]):
        return None
    change = _of_messages(*answers)
    return None if change is None else change._replace(text=f"it answers something else: {change.text}")


def _values_of(answer: Sequence[Message]) -> list[object]:
    """Return the texts of an answer; of JSON, the value: members may come in any order."""
    values: list[object] = []
    for message in answer:
        try:
            values.append(json_text.read(message.text()) if message.text() else message)
        except ValueError:
            values.append(message.text())
    return values


def is_of_prompts(recorded: Operation, current: Operation) -> bool:
    """Return True if two requests of a model differ in the program's own words only: system prompts, descriptions of tools."""
    if not isinstance(recorded, Inference) or not isinstance(current, Inference) or difference(recorded, current) is None:
        return False
    return request_digest(_without_prompts(recorded)) == request_digest(_without_prompts(current))


def _without_prompts(call: Inference) -> Inference:
    said = tuple([message for message in call.input if message.role not in _INSTRUCTIONS])
    tools = [replace(tool, description=None, parameters=_without_descriptions(tool.parameters)) for tool in call.tools]
    return replace(call, system=(), input=said, tools=tuple(tools))


def _without_descriptions(schema: Any) -> Any:
    """Return a JSON Schema without its descriptions. A property of that name stays: its schema is no text."""
    if isinstance(schema, dict):
        kept = {name: member for name, member in schema.items() if name != "description" or not isinstance(member, str)}
        return {name: _without_descriptions(member) for name, member in kept.items()}
    return [_without_descriptions(item) for item in schema] if isinstance(schema, list) else schema


def _of_inferences(recorded: Inference, current: Inference) -> Difference | None:
    if recorded.request_model != current.request_model:
        return Difference(f"the model was {recorded.request_model}, is {current.request_model}")
    changed = _of_values("parameters", dict(recorded.parameters), dict(current.parameters))
    if changed:
        return changed
    before, now = ({tool.name: messages.write_definitions((tool,)) for tool in call.tools} for call in (recorded, current))
    for name in (*before, *now):
        if before.get(name) != now.get(name):
            if name not in now or name not in before:
                return Difference(f"the tool {name} is {'not offered any more' if name in before else 'new'}")
            return _of_texts(f"the definition of {name}", before[name], now[name])
    if recorded.system != current.system:
        return _of_texts("the system prompt", *(messages.write_parts(call.system) for call in (recorded, current)))
    return _of_messages(recorded.input, current.input)


def _of_messages(recorded: Sequence[Message], current: Sequence[Message]) -> Difference | None:
    for number, (before, now) in enumerate(zip(recorded, current, strict=False), 1):
        if before.role != now.role:
            return Difference(f"message {number} was of {before.role}, is of {now.role}")
        texts = [messages.write_messages((message,)) for message in (before, now)]
        if texts[0] != texts[1]:
            shown = [message.text() or text for message, text in zip((before, now), texts, strict=True)]
            return _of_texts(f"message {number} ({now.role})", *(texts if shown[0] == shown[1] else shown))
    return None if len(recorded) == len(current) else Difference(f"{len(current)} messages in place of {len(recorded)}")


def _of_values(name: str, recorded: object, current: object) -> Difference | None:
    if recorded == current:
        return None
    if isinstance(recorded, dict) and isinstance(current, dict):
        for key in (*recorded, *current):
            if key not in current:
                return Difference(f"{name}: {key} was {_shown(recorded[key])}, is absent")
            if key not in recorded:
                return Difference(f"{name}: {key} is {_shown(current[key])}, was absent")
            if recorded[key] != current[key]:
                was, now = _shown(recorded[key]), _shown(current[key])
                return Difference(f"{name}: {key} was {was}, is {now}", was, now)
    return _of_texts(name, _shown(recorded), _shown(current))


def _shown(value: object) -> str:
    return json_text.write(value)[:LONGEST]


def _of_texts(name: str, was: str, now: str) -> Difference:
    return Difference(f"{name}: {word_difference(was, now)}", was, now)


_KINDS = (
    (r"(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", "a random id"),
    (r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\b", "a time"),
    (r"(?i)\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", "a random id, or a digest"),
    (r"\d+(?:\.\d+)?", "a random number, or a time"),
)


def repeatability(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Describe the first difference of each run. ``runs``: the divergences of each, as the fields of `Divergence`.

    If all runs differ in the same way, the program has changed. Otherwise the run is not repeatable, and the reason is given if
    it can be recognised: a time, a random value, or an order.
    """
    first = [divergences[0] if divergences else None for divergences in runs]
    differing = [divergence for divergence in first if divergence is not None]
    places = Counter((divergence["span_id"], divergence["kind"]) for divergence in differing)
    for (span_id, kind), count in places.items():
        alike = [divergence for divergence in differing if (divergence["span_id"], divergence["kind"]) == (span_id, kind)]
        if count == len(runs) and len({divergence["now"] or divergence["what"] for divergence in alike}) == 1:
            yield "Every run differs in the same way: the program has changed, and nothing of it is random."
            continue
        where = f" ({alike[0]['where']})" if alike[0]["where"] else ""
        name = alike[0]["what"].partition(" asks for")[0] if kind == "changed" else alike[0]["what"]
        yield f"Not repeatable: {name}{where}, in {count} of {len(runs)} runs. {_reason(alike)}".rstrip()


def _reason(divergences: Sequence[Mapping[str, Any]]) -> str:
    texts = [text for divergence in divergences for text in (divergence["was"], divergence["now"]) if text]
    if len(set(texts)) < 2:
        return ""
    if len({tuple(sorted(re.findall(r"\w+", text))) for text in texts}) == 1:
        return "The same words come in another order, as from a set or from calls in parallel."
    for pattern, name in _KINDS:
        if len({re.sub(pattern, "", text) for text in texts}) == 1:
            return f"Only {name} differs."
    return ""
