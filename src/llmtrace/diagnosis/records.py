"""Clues of values that stand somewhere, but are not the ones that this call should have: of another record, out of date, taken
back by the user, or in the place of another argument."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from llmtrace.diagnosis.clue import Clue, Kind, place_of, quote
from llmtrace.diagnosis.descriptions import identifies
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import Sightings, is_date, shape, words_in
from llmtrace.diagnosis.tools import acts, has_failed, is_polled
from llmtrace.lineage import Use
from llmtrace.lineage.arguments import name_of, pointer_of_path, scalars

_TAKEN_BACK = re.compile(
    r"\b(?:not|instead of|rather than|no longer|nicht|statt|pas|no es|en lugar de)\s+[\"'“]?$", re.IGNORECASE
)
_ENDING = re.compile(r"[?.!](?=\s|$)")
"""Of a sentence."""
_CHECK = "Have the tool check that the values it is given belong together, and say so in its result where they do not."
_NAMED = frozenset({"identifier", "email"})
_OF_A_LIST = 2
"""Members on the way to an element of a list."""


def of_other_records(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """A call about another thing than the one that was spoken of, or whose arguments never stand together anywhere."""
    looked_up: set[str] = set()
    for node in flow.nodes:
        if node.kind != "call" or node.refused:
            continue
        used = [use for use in node.uses if isinstance(use.value, str)]
        for use in used:
            if use.kind in _NAMED and isinstance(use.value, str) and not use.made_up:
                rival = _passed_over(node, use, flow, seen)
                if rival is not None and (acts(node) or rival not in looked_up):
                    yield _other(node, use, rival)
        looked_up.update(str(use.value) for use in used)
    for node in flow.nodes:
        if not node.refused and node.uses:
            yield from _apart(node, seen)
    yield from _not_spoken_of(flow, seen)


def _passed_over(node: Node, use: Use, flow: Flow, seen: Sightings) -> str | None:
    """Another value of this form that the last words before the call name, where these do not name this one."""
    value = str(use.value)
    if any(one.turn == node.turn for one in seen.spoken.get(value, ()) if one.place < node.place):
        return None
    last = next((one for one in reversed(flow.nodes[: node.place]) if one.text), None)
    if last is None:
        return None
    form = shape(value)
    spoken = {word for one in flow.nodes[max(0, last.place - 1) : last.place + 1] for word in words_in(one.text)}
    if value in spoken:
        return None
    rivals = sorted(word for word in spoken if shape(word) == form and word != value)
    used = {str(other.value) for other in node.uses}
    return rivals[0] if len(rivals) == 1 and rivals[0] not in used else None


def _other(node: Node, use: Use, rival: str) -> Clue:
    title = f"{node.tool} was called with another {use.pointer} than the one spoken of"
    evidence = f"{use.pointer} is {quote(use.value)}, while the words right before the call name {quote(rival)} only."
    return Clue("passed_over", node.span_id, title, evidence, _CHECK, "warning", node, use, use.pointer, use.value)


def _apart(node: Node, seen: Sightings) -> Iterator[Clue]:
    """An identifier that stands together with fewer of the call's other values than another one of its form and name does.
    Of a list one may choose: its elements speak only for an identifier that has a record, which holds them."""
    named = {str(use.value): use for use in node.uses if use.kind in _NAMED and isinstance(use.value, str) and not use.made_up}
    holding = {value: {one.place for one in seen.before(value, node)} for value in named} if len(named) > 1 else {}
    single = {value for value, use in named.items() if len(use.path) < _OF_A_LIST or use.kind == "email"}
    for value in [value for value in holding if value in single]:
        found = _better(value, {other: held for other, held in holding.items() if other in single}, node, seen)
        if found is None:
            found = _better(value, holding, node, seen)
            if found is None or seen.record(found[0], node) is None:
                continue
        best, theirs, mine = found
        use = named[value]
        kind: Kind = "apart" if node.kind == "call" else "mixed_up"
        called = f"{node.tool} was called with a {use.pointer}"
        title = f"{called if node.kind == 'call' else 'the answer names an identifier'} that belongs to something else"
        evidence = f"{quote(best)} stands together with {theirs} of the other values there, {quote(value)} with {mine}."
        yield Clue(kind, node.span_id, title, evidence, _CHECK, "warning", node, use, use.pointer or None, value)
        return


def _better(value: str, holding: dict[str, set[int]], node: Node, seen: Sightings) -> tuple[str, int, int] | None:
    """Another value that stands together with more of these, and with how many, and with how many this one does."""
    others = {other: held for other, held in holding.items() if other != value and held}
    mine = sum(bool(held & holding[value]) for held in others.values())
    rivals = _rivals(value, node, seen, others) if mine < len(others) and holding[value] else {}
    best = max(rivals, key=lambda rival: (rivals[rival], rival), default=None)
    return (best, rivals[best], mine) if best is not None and rivals[best] > mine and best not in holding else None


def _rivals(value: str, node: Node, seen: Sightings, others: dict[str, set[int]]) -> dict[str, int]:
    """Other values of the same form and name, each with the number of the call's other values that it stands with."""
    names = seen.names_elsewhere(value, node)
    found: dict[str, int] = {}
    for word in seen.alike(value):
        if word == value or (names and names.isdisjoint(seen.names(word))):
            continue
        held = {one.place for one in seen.before(word, node)}
        together = sum(bool(held & other) for other in others.values())
        if together:
            found[word] = together
    return found


def _not_spoken_of(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """A lookup of one thing, after which the model speaks of another that was not looked up."""
    looked_up: dict[tuple[str, str], set[str]] = {}
    for node in flow.nodes:
        if node.kind == "call":
            for use in node.uses:
                looked_up.setdefault((node.tool, use.pointer), set()).add(str(use.value))
    for node in flow.nodes:
        named = [use for use in node.uses if use.kind in _NAMED and not use.made_up] if node.kind == "call" else []
        if len(named) != 1 or not node.has_result or acts(node):
            continue
        use, value = named[0], str(named[0].value)
        answer = next((one for one in flow.nodes[node.place + 1 :] if one.kind == "answer"), None)
        if answer is None or answer.turn != node.turn or value in words_in(answer.text):
            continue
        rivals = {word for word in words_in(answer.text) if shape(word) == shape(value)}
        if _taken(rivals, flow.nodes[node.place + 1 : answer.place]):
            continue  # a later call went to another one: that is where to look
        if (
            rivals
            and not rivals & looked_up[node.tool, use.pointer]
            and seen.names_elsewhere(value, node) <= _names(rivals, seen)
        ):
            rival = sorted(rivals)[0]
            title = f"{node.tool} looked up another {use.pointer} than the answer speaks of"
            evidence = f"{use.pointer} is {quote(value)}; the next answer speaks of {quote(rival)}, which was never looked up."
            yield Clue("not_spoken_of", node.span_id, title, evidence, _CHECK, "warning", node, use, use.pointer, value)


def _taken(rivals: set[str], later: list[Node]) -> bool:
    return any(acts(one) and str(use.value) in rivals for one in later if one.kind == "call" for use in one.uses)


def _names(words: set[str], seen: Sightings) -> set[str]:
    return {name for word in words for name in seen.names(word)}


def answered_for_another(flow: Flow) -> Iterator[Clue]:
    """A result that names, under the name of an argument, another value than the call gave."""
    for node in flow.nodes:
        if node.kind != "call" or not isinstance(node.structure, dict) or not isinstance(node.arguments, dict):
            continue
        for name, asked in node.arguments.items():
            if name.isalpha() and name.islower():
                continue  # ``id`` or ``name`` of what is given and of what comes back may well differ
            told = node.structure.get(name)
            if _differ(asked, told) and not _changes(node, name):
                title = f"{node.tool} answered for another {name} than it was asked for"
                evidence = f"/{name} of the call is {quote(asked)}, /{name} of the result is {quote(told)}."
                place = place_of(node)
                yield Clue("other_answer", place, title, evidence, _CHECK, "warning", node, None, f"/{name}", asked)
                break


def _differ(asked: object, told: object) -> bool:
    if type(told) is not type(asked) or not isinstance(asked, (str, int)) or isinstance(asked, bool):
        return False
    return str(told).casefold() != str(asked).casefold()


def _changes(node: Node, name: str) -> bool:
    """True where the call may set what it names, so that a result from before the change differs."""
    return acts(node) and not name.endswith(("id", "Id", "ID", "number"))


def out_of_date(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """A value of an earlier result of a tool that has answered the same call again since, without it."""
    answers: dict[tuple[str, str], list[Node]] = {}
    for node in flow.nodes:
        if node.kind != "call" or not node.has_result or has_failed(node):
            continue
        answers.setdefault((node.tool, repr(node.arguments)), []).append(node)
    changes = [node.place for node in flow.nodes if node.kind == "call" and acts(node) and not has_failed(node)]
    for earlier, later in (pair for nodes in answers.values() for pair in pairwise(nodes)):
        if str(earlier.result) == str(later.result):
            continue
        yield from _stale(flow, seen, _words(earlier) - _words(later), later)
        if not acts(later) and not is_polled(later) and not any(earlier.place < place < later.place for place in changes):
            title = f"{later.tool} answered the same call differently"
            evidence = (
                f"{later.tool} was called with the same arguments before (span {place_of(earlier)}) and said something else."
            )
            yield Clue("inconsistent", place_of(later), title, evidence, _CHECK, "warning", later, value=later.arguments)


def _words(node: Node) -> set[str]:
    return words_in(node.result if isinstance(node.result, str) else repr(node.result))


def _stale(flow: Flow, seen: Sightings, gone: set[str], later: Node) -> Iterator[Clue]:
    for node in flow.nodes[later.place + 1 :]:
        for use in node.uses:
            value = str(use.value)
            if value in gone and not any(later.place <= one.place < node.place for one in seen.told.get(value, ())):
                tool = later.tool
                where = (
                    f"{node.tool} was called with an outdated {use.pointer}"
                    if node.kind == "call"
                    else "the answer is outdated"
                )
                evidence = (
                    f"{quote(value)} stood in an earlier result of {tool}; {tool} has answered the same call again without it."
                )
                advice = (
                    f"Have the model take values from the newest result; let {node.tool or tool} refuse what is out of date."
                )
                pointer = use.pointer or None
                yield Clue("outdated", node.span_id, where, evidence, advice, "warning", node, use, pointer, use.value)


def taken_back(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """A value that the user has taken back: "it is B, not A". A call that has both exchanges the one for the other."""
    for node in flow.nodes:
        if node.kind != "call":
            continue
        for use in node.uses:
            value = str(use.value)
            for turn in seen.spoken.get(value, ()):
                if turn.kind == "user" and turn.place < node.place and _is_taken_back(turn.text, value):
                    if _has_other(node, value, turn.text):
                        break
                    title = f"{node.tool} was called with a {use.pointer} that the user had corrected"
                    evidence = f"The user said not to use {quote(value)} before this call was made."
                    advice = "Have the model repeat what it understood before it acts."
                    yield Clue("outdated", node.span_id, title, evidence, advice, "warning", node, use, use.pointer, use.value)
                    break


def _is_taken_back(text: str, value: str) -> bool:
    at = text.rfind(value)
    asked = _ENDING.search(text, at + len(value))
    return at >= 0 and _TAKEN_BACK.search(text[max(0, at - 30) : at]) is not None and (asked is None or asked[0] != "?")


def _has_other(node: Node, value: str, text: str) -> bool:
    """Whether the call has another thing of this form, too, that the text names."""
    held = {str(use.value) for use in node.uses} - {value}
    return any(shape(word) == shape(value) for word in held & words_in(text))


def misplaced(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """An argument whose value goes by the name of another argument everywhere else."""
    for node in flow.nodes:
        if node.kind != "call" or not isinstance(node.arguments, dict):
            continue
        for path, value in scalars(node.arguments):
            name, text = name_of(path), str(value)
            if not isinstance(value, str) or len(text) < 2:
                continue
            other = _exchanged(name, text, node, seen) or _other_name(name, text, node, seen)
            if other:
                title = f"{node.tool} was called with the {other} as {pointer_of_path(path)}"
                evidence = f"{quote(text)} is {other} in every result of the run, never {name}."
                advice = f"Give {name} a pattern or a format in the schema of {node.tool} that {other} does not have."
                yield Clue(
                    "misplaced", node.span_id, title, evidence, advice, "warning", node, None, pointer_of_path(path), value
                )
                break


def _exchanged(name: str, text: str, node: Node, seen: Sightings) -> str:
    """The other argument of the call by whose name the value goes in every other result."""
    names = seen.names_elsewhere(text, node)
    if name not in seen.members or any(name.endswith(other) for other in names):
        return ""
    arguments = node.arguments if isinstance(node.arguments, dict) else {}
    return min(names & set(arguments), default="")


def _other_name(name: str, text: str, node: Node, seen: Sightings) -> str:
    """What the value is called in every result before, where that is of another kind than this name; nobody has said it."""
    names = sorted(seen.names_before(text, node))
    if not names or not {name, name.removesuffix("s")} & seen.members:
        return ""
    if any(one.place < node.place for one in seen.spoken.get(text, ())):
        return ""
    own = name.removesuffix("s")
    if any(own.endswith(other.removesuffix("s")) or other.removesuffix("s").endswith(own) for other in names):
        return ""
    of_one_kind = all(identifies(other) for other in names) if identifies(name) else is_date(text)
    return names[0] if of_one_kind else ""
