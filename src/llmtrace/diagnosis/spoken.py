"""Clues of answers and calls about another thing than the one that was named before or right after."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import Sightings, is_date, shape, words_in
from llmtrace.diagnosis.tools import acts
from llmtrace.lineage.arguments import pointer_of_path, scalars

_CHECK = "Have the model repeat the identifier that it was given, and the program compare the two before anything is done."
_SHORTEST, _NEAR = 4, 16


def past_the_user(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """An answer that names one thing, where the user's last words name one other of its form only, and it does not; and no call
    since then looked that up. Of a call about what the user named, a thing of another kind may have come: a reference."""
    asked: set[str] = set()
    looked_up: set[str] = set()
    for node in flow.nodes:
        if node.kind == "user":
            asked = _named(node.text)
            looked_up.clear()
        elif node.kind == "call" and asked:
            looked_up.update(str(value) for _, value in scalars({"": node.arguments}))
        elif node.kind == "answer" and asked:
            told = _named(node.text)
            for word in sorted(asked - told):
                own = {other for other in asked if shape(other) == shape(word)}
                others = {other for other in told if shape(other) == shape(word)}
                if len(own) == len(others) == 1 and word in seen.told and others.isdisjoint(looked_up):
                    other = others.pop()
                    if word in looked_up and not seen.kin(word, other):
                        continue
                    title = "the answer speaks of another thing than the user"
                    evidence = (
                        f"The user's last words name {quote(word)}, the answer {quote(other)}, and no call looked that up."
                    )
                    yield Clue("other_thing", node.span_id, title, evidence, _CHECK, "warning", node, value=other)
                    break


def _named(text: str) -> set[str]:
    return {word for word in words_in(text) if not is_date(word)}


def against_the_call(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """A call that changes one thing, where the answer before it names one other of its form and name only. Of the two it is
    the one to blame that nobody had named before."""
    answer: Node | None = None
    told: set[str] = set()
    for node in flow.nodes:
        if node.kind == "answer":
            answer, told = node, _named(node.text)
        if node.kind != "call" or answer is None or not told or not acts(node) or not node.arguments:
            continue
        for path, value in scalars(node.arguments):
            if not isinstance(value, str) or not _is_name(value) or value in told:
                continue
            like = [word for word in told if shape(word) == shape(value) and seen.kin(word, value)]
            rivals = set(like) - _used_around(answer, node, flow) if like else set()
            blamed = _unheard_of(value, node, min(rivals), answer, seen) if len(rivals) == 1 else None
            if blamed is not None:
                yield _other_thing(blamed, node, pointer_of_path(path), value, min(rivals))
                break


def _is_name(value: str) -> bool:
    return len(value) >= _SHORTEST and value in words_in(value) and not is_date(value)


def _used_around(answer: Node, node: Node, flow: Flow) -> set[str]:
    """The arguments of the calls near this one, after the answer and to the end of the turn."""
    near = flow.nodes[max(answer.place + 1, node.place - _NEAR) : node.place + _NEAR + 1]
    calls = [one for one in near if one.kind == "call" and one.turn <= node.turn]
    return {str(value) for call in calls for _, value in scalars({"": call.arguments})}


def _unheard_of(value: str, node: Node, rival: str, answer: Node, seen: Sightings) -> Node | None:
    of_call = any(one is not answer and one.place < node.place for one in seen.spoken.get(value, ()))
    of_answer = any(one is not answer and one.place < node.place for one in seen.spoken.get(rival, ()))
    return None if of_call == of_answer else answer if of_call else node


def _other_thing(blamed: Node, call: Node, pointer: str, value: str, rival: str) -> Clue:
    if blamed is call:
        title = f"{call.tool} was called with another {pointer} than the answer before it names"
        evidence = f"{pointer} is {quote(value)}, which nobody had named; the answer before the call names {quote(rival)}."
        return Clue("other_thing", call.span_id, title, evidence, _CHECK, "warning", call, None, pointer, value)
    title = "the answer names another thing than was meant"
    evidence = f"It names {quote(rival)}, which nobody had named; {call.tool} was then called with {quote(value)}."
    return Clue("other_thing", blamed.span_id, title, evidence, _CHECK, "warning", blamed, value=rival)
