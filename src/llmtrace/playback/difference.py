"""How a request differs from the recorded one, in words that a person can act on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llmtrace.codec import json_text, messages
from llmtrace.model import Inference, Message, Operation, ToolExecution
from llmtrace.text.word_difference import LONGEST, word_difference


class Difference(NamedTuple):
    """The first thing in which two requests differ."""

    text: str
    """One sentence."""
    was: str = ""
    """The whole text that changed, as it was recorded; empty where something is new or absent."""
    now: str = ""


def difference(recorded: Operation, made: Operation) -> Difference | None:
    """What is different, the first thing first; None if nothing that is recorded is."""
    if isinstance(recorded, Inference) and isinstance(made, Inference):
        return _of_inferences(recorded, made)
    if isinstance(recorded, ToolExecution) and isinstance(made, ToolExecution):
        return _of_values("arguments", recorded.arguments, made.arguments)
    return None if recorded == made else Difference(f"{type(recorded).__name__} asks for something else")


def _of_inferences(recorded: Inference, made: Inference) -> Difference | None:
    if recorded.request_model != made.request_model:
        return Difference(f"the model was {recorded.request_model}, is {made.request_model}")
    changed = _of_values("parameters", dict(recorded.parameters), dict(made.parameters))
    if changed:
        return changed
    before, now = ({tool.name: messages.write_definitions((tool,)) for tool in call.tools} for call in (recorded, made))
    for name in (*before, *now):
        if before.get(name) != now.get(name):
            if name not in now or name not in before:
                return Difference(f"the tool {name} is {'not offered any more' if name in before else 'new'}")
            return _of_texts(f"the definition of {name}", before[name], now[name])
    if recorded.system != made.system:
        return _of_texts("the system prompt", *(messages.write_parts(call.system) for call in (recorded, made)))
    return _of_messages(recorded.input, made.input)


def _of_messages(recorded: Sequence[Message], made: Sequence[Message]) -> Difference | None:
    for number, (before, now) in enumerate(zip(recorded, made, strict=False), 1):
        if before.role != now.role:
            return Difference(f"message {number} was of {before.role}, is of {now.role}")
        texts = [messages.write_messages((message,)) for message in (before, now)]
        if texts[0] != texts[1]:
            shown = [message.text() or text for message, text in zip((before, now), texts, strict=True)]
            return _of_texts(f"message {number} ({now.role})", *(texts if shown[0] == shown[1] else shown))
    return None if len(recorded) == len(made) else Difference(f"{len(made)} messages in place of {len(recorded)}")


def _of_values(name: str, recorded: object, made: object) -> Difference | None:
    if recorded == made:
        return None
    if isinstance(recorded, dict) and isinstance(made, dict):
        for key in (*recorded, *made):
            if key not in made:
                return Difference(f"{name}: {key} was {_shown(recorded[key])}, is absent")
            if key not in recorded:
                return Difference(f"{name}: {key} is {_shown(made[key])}, was absent")
            if recorded[key] != made[key]:
                was, now = _shown(recorded[key]), _shown(made[key])
                return Difference(f"{name}: {key} was {was}, is {now}", was, now)
    return _of_texts(name, _shown(recorded), _shown(made))


def _shown(value: object) -> str:
    return json_text.write(value)[:LONGEST]


def _of_texts(name: str, was: str, now: str) -> Difference:
    return Difference(f"{name}: {word_difference(was, now)}", was, now)


_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\b")
_HEX = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_KINDS = (
    (_UUID, "a random id"),
    (_TIME, "a time"),
    (_HEX, "a random id, or a digest"),
    (_NUMBER, "a random number, or a time"),
)


def repeatability(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Sentences on the first difference of each run. ``runs``: the divergences of each, as the fields of `Divergence`.

    What all runs do alike is a change of the program. What they do differently is not repeatable, and the reason is given
    where it can be told: a time, a random value, or an order.
    """
    first = [divergences[0] if divergences else None for divergences in runs]
    found = [divergence for divergence in first if divergence is not None]
    places = Counter((divergence["span_id"], divergence["kind"]) for divergence in found)
    for (span_id, kind), count in places.items():
        here = [each for each in found if (each["span_id"], each["kind"]) == (span_id, kind)]
        if count == len(runs) and len({each["now"] or each["what"] for each in here}) == 1:
            yield "Every run differs in the same way: the program has changed, and nothing of it is random."
            continue
        where = f" ({here[0]['where']})" if here[0]["where"] else ""
        name = here[0]["what"].partition(" asks for")[0] if kind == "changed" else here[0]["what"]
        yield f"Not repeatable: {name}{where}, in {count} of {len(runs)} runs. {_reason(here)}".rstrip()


def _reason(divergences: Sequence[Mapping[str, Any]]) -> str:
    texts = [text for each in divergences for text in (each["was"], each["now"]) if text]
    if len(set(texts)) < 2:
        return ""
    if len({tuple(sorted(re.findall(r"\w+", text))) for text in texts}) == 1:
        return "The same words come in another order, as from a set or from calls in parallel."
    for pattern, name in _KINDS:
        if len({pattern.sub("", text) for text in texts}) == 1:
            return f"Only {name} differs."
    return ""
