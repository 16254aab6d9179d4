"""Clues of lists in calls that lack an element of what was said, of a record, of the list beside it, or of the call before; and
of a list gone through with one element left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import DEEPEST, Sightings, shape, words_in
from llmtrace.diagnosis.tools import acts
from llmtrace.lineage.arguments import scalars
from llmtrace.model import JsonValue

_ADVICE = "Have the tool say in its result how many elements it took, and the model compare that with what was asked for."
_MOST, _MOST_ASKED = 50, 200


def incomplete(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    before: dict[tuple[str, str], list[JsonValue]] = {}
    for node in flow.nodes:
        if node.kind != "call" or not isinstance(node.arguments, dict):
            continue
        for name, value in node.arguments.items():
            if isinstance(value, list) and 0 < len(value) <= _MOST:
                earlier = before.get((node.tool, name))
                lacks = (
                    _beside(name, value, node) or _than_before(value, earlier) or _of_a_record(name, value, node, flow, seen)
                )
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


def _of_a_record(name: str, value: list[JsonValue], node: Node, flow: Flow, seen: Sightings) -> str:
    """The record that the call is about has more elements under this name, and nobody named these alone."""
    arguments = node.arguments if isinstance(node.arguments, dict) else {}
    for identifier in (held for held in arguments.values() if isinstance(held, str)):
        record = seen.record(identifier, node)
        held = record.get(name) if record is not None else None
        own = set(_texts(value))
        if isinstance(held, list) and len(held) > len(value) and own <= set(_texts(held)):
            if any(own == words_in(one.text).intersection(_texts(held)) for one in _last_words(node, flow)):
                return ""
            return f"in the result for {quote(identifier)} there are {len(held)}"
    return ""


def _last_words(node: Node, flow: Flow) -> Iterator[Node]:
    """The last turn of the user, and the last answer, before the call."""
    for kind in ("user", "answer"):
        yield from islice((one for one in reversed(flow.nodes[: node.place]) if one.kind == kind), 1)


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


def skipped(flow: Flow) -> Iterator[Clue]:
    """A list of identifiers that was looked up one by one, one of them twice and one never: the call that stands where that one
    would have been."""
    asked: dict[tuple[str, str], list[tuple[str, Node]]] = defaultdict(list)
    for node in flow.nodes:
        if node.kind == "call" and not acts(node) and isinstance(node.arguments, dict) and len(node.arguments) == 1:
            ((name, value),) = node.arguments.items()
            if isinstance(value, str):
                asked[node.tool, name].append((value, node))
    repeated = {key: calls for key, calls in asked.items() if len({value for value, _ in calls}) < len(calls) <= _MOST_ASKED}
    wanted = {value for calls in repeated.values() for value, _ in calls}
    lists: dict[str, list[list[str]]] = defaultdict(list)
    for structure in (node.structure for node in flow.nodes if wanted and node.structure is not None):
        for held in _lists(structure, 0):
            for element in wanted.intersection(held):
                lists[element].append(held)
    for (tool, name), calls in repeated.items():
        found = _out_of_order(calls, lists)
        if found is not None and not _asked_for_one(flow, *found):
            node, value, left_out = found
            title = f"{tool} looked up the same {name} twice, and another never"
            evidence = f"Of one list {quote(left_out)} was never looked up, and {quote(value)} in its place."
            advice = f"Have the program go through the list and call {tool} for each, not the model."
            yield Clue("skipped", node.span_id, title, evidence, advice, "warning", node, None, f"/{name}", value)


def _asked_for_one(flow: Flow, node: Node, value: str, left_out: str) -> bool:
    """True where the user named this one, and nobody ever speaks of the other: then the list was not gone through."""
    named = any(other.kind == "user" and value in other.text for other in flow.nodes[: node.place])
    return named and not any(left_out in other.text for other in flow.nodes)


def _out_of_order(calls: list[tuple[str, Node]], lists: dict[str, list[list[str]]]) -> tuple[Node, str, str] | None:
    values = [value for value, _ in calls]
    distinct = set(values)
    for at, (value, node) in enumerate(calls):
        if values.count(value) > 1:
            whole = max(lists[value][:_MOST], key=lambda held: len(distinct & set(held)), default=[])
            left_out = [element for element in whole if element not in distinct]
            number = len(set(values[:at]) & set(whole))
            if len(left_out) == 1 and number < len(whole) and whole[number] == left_out[0]:
                return node, value, left_out[0]
    return None


def _lists(content: JsonValue, depth: int) -> Iterator[list[str]]:
    """Lists of texts, two at least."""
    members = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for member in members:
        if isinstance(member, list) and 1 < len(member) <= _MOST and all(isinstance(element, str) for element in member):
            yield [str(element) for element in member]
        elif isinstance(member, (dict, list)) and depth < DEEPEST:
            yield from _lists(member, depth + 1)
