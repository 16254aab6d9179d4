"""Clues of context: an inference that no longer knew what was said before, and the words it got instead."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import Sightings, is_date, is_word, shape, words_in
from llmtrace.diagnosis.symptoms import is_known_to_have_failed
from llmtrace.model import Trace

_KEEP = "Keep what later steps need (ids, amounts, dates) as fields that are handed on whole, not as prose."


def forgotten(trace: Trace, flow: Flow, seen: Sightings) -> Iterator[Clue]:
    failed = is_known_to_have_failed(trace)
    for loss in flow.memory.losses:
        if loss.slid:
            continue
        place = loss.bridge or loss.span_id
        nodes = flow.said_by(place)
        whole = loss.anew or loss.bridge is not None
        if (
            whole
            and not failed
            and not any(_is_missed(node, flow) or _tells_of_another(node, flow, seen) for node in nodes[:1])
        ):
            continue  # another task, or a hand-off that told what was needed
        messages = "1 message" if loss.lost == 1 else f"{loss.lost} messages"
        if loss.bridge is not None:
            title = "words of a model took the place of what was said before"
            evidence = f"The next step was sent these words in place of {messages}, and knows no more than they say."
            yield Clue("handed", place, title, evidence, _KEEP, "warning", nodes[0] if nodes else None)
        else:
            title = "the model was no longer sent what was said before"
            evidence = f"This request lacks {messages} that an earlier step was sent."
            yield Clue("forgotten", place, title, evidence, _KEEP, "warning", nodes[0] if nodes else None)


def _is_missed(first: Node, flow: Flow) -> bool:
    """Whether what was known before may be what the model lacks: here or later it makes values up, or looks up again what it
    had looked up."""
    known = {(node.tool, repr(node.arguments)) for node in flow.nodes[: first.place] if node.kind == "call"}
    later = flow.nodes[first.place :]
    return any(use.made_up for node in later for use in node.uses) or any(
        (node.tool, repr(node.arguments)) in known for node in later if node.kind == "call"
    )


def _tells_of_another(words: Node, flow: Flow, seen: Sightings) -> bool:
    """Whether these words name a thing that nobody had spoken of nor used, and leave out one that was, of the same kind, which
    stands together with more of what else they name, or with as much and the user named it last."""
    named = words_in(words.text)
    used = {str(use.value) for node in flow.nodes[: words.place] if node.kind == "call" for use in node.uses}
    spoken = used | {word for word, nodes in seen.spoken.items() if nodes[0].place < words.place}
    left_out: dict[str, list[str]] = {}
    for word in spoken - named:
        if is_word(word) and not is_date(word):
            left_out.setdefault(shape(word), []).append(word)
    new = [word for word in named - spoken if shape(word) in left_out and not is_date(word)]
    held = {word: set(seen.before(word, words)) for word in named} if new else {}

    def together(word: str, but: str) -> int:
        own = held.get(word) or set(seen.before(word, words))
        return sum(not own.isdisjoint(others) for other, others in held.items() if other != but)

    asked = next((words_in(node.text) for node in reversed(flow.nodes[: words.place]) if node.kind == "user"), set())
    return any(
        seen.kin(one, other) and together(other, one) + (other in asked) > together(one, one)
        for one in new
        for other in left_out[shape(one)]
    )
