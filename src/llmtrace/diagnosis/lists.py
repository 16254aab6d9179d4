"""Clues of lists in calls that lack an element of what was said, of a record, of the list beside it, or of the call before."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import Sightings, shape, words_in
from llmtrace.lineage.arguments import scalars
from llmtrace.model import JsonValue

_ADVICE = "Have the tool say in its result how many elements it took, and the model compare that with what was asked for."
_MOST = 50


def incomplete(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    before: dict[tuple[str, str], list[JsonValue]] = {}
    for node in flow.nodes:
        if node.kind != "call" or not isinstance(node.arguments, dict):
            continue
        for name, value in node.arguments.items():
            if isinstance(value, list) and 0 < len(value) <= _MOST:
                earlier = before.get((node.tool, name))
                lacks = _beside(name, value, node) or _than_before(value, earlier) or _of_a_record(name, value, node, seen)
                lacks = lacks or _spoken_of(value, node, flow, seen)
                before[node.tool, name] = value
                if lacks:
                    title = f"{node.tool} was called with a {name} that may lack an element"
                    evidence = f"/{name} has {len(value)} element{'s' * (len(value) > 1)}; {lacks}."
                    yield Clue("incomplete", node.span_id, title, evidence, _ADVICE, "warning", node, None, f"/{name}", value)
                    break


def _beside(name: str, value: list[JsonValue], node: Node) -> str:
    """A list that goes with it, by its name, is longer."""
    arguments = node.arguments if isinstance(node.arguments, dict) else {}
    for other, held in arguments.items():
        if isinstance(held, list) and len(held) > len(value) and (other.endswith(name) or name.endswith(other)):
            return f"/{other}, which goes with it, has {len(held)}"
    return ""


def _than_before(value: list[JsonValue], earlier: list[JsonValue] | None) -> str:
    shorter = earlier is not None and len(value) < len(earlier) and all(element in earlier for element in value)
    return f"the same tool was given {len(earlier or ())} before, these among them" if shorter else ""


def _of_a_record(name: str, value: list[JsonValue], node: Node, seen: Sightings) -> str:
    """The record that the call is about has more elements under this name."""
    arguments = node.arguments if isinstance(node.arguments, dict) else {}
    for identifier in (held for held in arguments.values() if isinstance(held, str)):
        record = seen.record(identifier, node)
        held = record.get(name) if record is not None else None
        if isinstance(held, list) and len(held) > len(value) and set(_texts(value)) <= set(_texts(held)):
            return f"in the result for {quote(identifier)} there are {len(held)}"
    return ""


def _spoken_of(value: list[JsonValue], node: Node, flow: Flow, seen: Sightings) -> str:
    """The last words name another identifier along with these."""
    words = next((one.text for one in reversed(flow.nodes[: node.place]) if one.kind == "answer"), "")
    own, given = _texts(value), set(_texts(node.arguments))
    said = words_in(words)
    for identifier in own:
        if identifier in said:
            others = sorted(word for word in said - given if shape(word) == shape(identifier) and seen.kin(word, identifier))
            if others:
                return f"the words before the call name {quote(others[0])} too"
    return ""


def _texts(content: JsonValue) -> list[str]:
    return [leaf for _, leaf in scalars({"": content}) if isinstance(leaf, str)]
