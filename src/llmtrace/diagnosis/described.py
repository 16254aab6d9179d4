"""Clues of calls and answers whose identifier is of one thing, and the words beside it of another of the same kind."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.descriptions import Descriptions, Kind, passages, written
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import words_in
from llmtrace.diagnosis.tools import acts
from llmtrace.lineage.arguments import pointer_of_path, scalars
from llmtrace.lineage.forms import read_number

_MONEY = re.compile(r"[$€£]\s?(\d[\d,]*(?:\.\d+)?)")
_QUOTES = "Have the answer quote results only, and check its values against them before it goes out."
_CHECK = "Have the tool check that the values it is given belong together, and say so in its result where they do not."
_NEAR = 16
_ENOUGH = 2
"""Things said that fit another record and not this one, from which on they speak of that."""


def answered(flow: Flow, known: Descriptions) -> Iterator[Clue]:
    """An answer that gives an identifier, and says beside it what the record of another has, and nothing that only its own
    has; or one sum of money, which is another's."""
    for node in flow.nodes:
        for identifier, passage in passages(node.text) if node.kind == "answer" and known.kinds else ():
            found = _of_another(identifier, passage, node, known)
            if found is not None:
                other, told = found
                title = "the answer gives the identifier of another thing than it describes"
                evidence = f"It says {told} of {quote(identifier)}; in the results that is of {quote(other)}."
                yield Clue("contradicts", node.span_id, title, evidence, _QUOTES, "warning", node, value=identifier)
                break


def _of_another(identifier: str, passage: str, node: Node, known: Descriptions) -> tuple[str, str] | None:
    for kind in known.kinds.values():
        if not kind.of(identifier, node.place):
            continue
        said = known.said_in(passage.replace(identifier, " "))
        for other, theirs, mine in known.rivals(kind, identifier, said, node.place):
            if len(theirs) >= _ENOUGH and not mine:
                return other, quote(", ".join(sorted(theirs)))
        found = _sum_of_another(identifier, passage, node, kind)
        if found is not None:
            return found
    return None


def _sum_of_another(identifier: str, passage: str, node: Node, kind: Kind) -> tuple[str, str] | None:
    """The one sum that is given, where the thing has amounts in the results, and not this one, while another has."""
    sums = {read_number(match.group(1)) or 0.0 for match in _MONEY.finditer(passage)}
    if len(sums) != 1:
        return None
    given, own = written(sums.pop()), kind.of(identifier, node.place)
    if given in own or not any(_is_amount(one) for one in own):
        return None
    others = (one for one in kind.holders.get(given, ()) if kind.said[one][given] < node.place)
    return next(((other, given) for other in others), None)


def _is_amount(text: str) -> bool:
    whole, point, cents = text.partition(".")
    return bool(point) and whole.isdigit() and cents.isdigit()


def called(flow: Flow, known: Descriptions) -> Iterator[Clue]:
    """A call that changes something, with an identifier that the words before it do not name, while they describe another of
    its kind. What is looked up need not be what was described: one looks for it."""
    since: list[str] = []
    for node in flow.nodes:
        if node.kind == "answer":
            since.clear()
        if node.text:
            since.append(node.text)
        if node.kind == "call" and acts(node) and known.kinds and isinstance(node.arguments, dict):
            words = "\n".join(since)
            for path, value in scalars(node.arguments):
                other = _better(path, value, words, node, flow, known) if isinstance(value, str) else None
                if other is not None:
                    pointer = pointer_of_path(path)
                    title = f"{node.tool} was called with another {pointer} than the words before it describe"
                    told = quote(", ".join(sorted(other[1])))
                    evidence = f"They say {told}, as the results do of {quote(other[0])} and not of {quote(value)}."
                    yield Clue("other_thing", node.span_id, title, evidence, _CHECK, "warning", node, None, pointer, value)
                    break


def _better(
    path: tuple[str | int, ...], value: str, words: str, node: Node, flow: Flow, known: Descriptions
) -> tuple[str, set[str]] | None:
    """Another thing that the words describe better, and what they say of it."""
    kinds = [kind for kind in known.kinds.values() if value in kind.said]
    if not kinds or _is_one_of_several(path, node) or value in words_in(words):
        return None
    used = _used_around(node, flow) - {value}
    said = known.said_in(words) - {
        told for kind in known.kinds.values() for other in used for told in kind.of(other, node.place)
    }
    for kind in kinds:
        for other, theirs, mine in known.rivals(kind, value, said, node.place):
            if len(theirs) >= len(mine) + _ENOUGH and other not in used:
                return other, theirs
    return None


def _used_around(node: Node, flow: Flow) -> set[str]:
    """The values of this call, and of those of its turn that are near."""
    near = flow.nodes[max(0, node.place - _NEAR) : node.place + _NEAR + 1]
    calls = [one for one in near if one.kind == "call" and one.turn == node.turn]
    return {str(value) for call in calls for _, value in scalars({"": call.arguments})}


def _is_one_of_several(path: tuple[str | int, ...], node: Node) -> bool:
    """Of a list with several elements the words may describe one only."""
    arguments = node.arguments if isinstance(node.arguments, dict) else {}
    held = arguments.get(str(path[0])) if path else None
    return isinstance(held, list) and len(held) > 1
