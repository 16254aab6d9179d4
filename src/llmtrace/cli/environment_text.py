"""The environment of a run and its changes, as text and as JSON: for ``show --env``, ``diff`` and ``verify``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmtrace.cli.terminal import Screen, pad, short
from llmtrace.diagnosis.environment import ABSENT, Change, Environment, Fact, is_same_template
from llmtrace.text.unsafe_characters import clean
from llmtrace.text.word_difference import word_difference

_DIGESTS = frozenset({"prompt template", "system prompt", "tool", "tools", "output schema", "parameters", "task"})
"""Kinds of facts whose values are digests of content."""
_NOUNS = {
    "code": "commit",
    "provider fingerprint": "provider's fingerprint",
    "python": "Python",
    "task": "task (the first user message)",
}
_WIDEST = 40
"""Maximum width of the column of kinds and names."""


def noun(fact: Fact) -> str:
    """Return the name of a fact: ``system prompt of support``, ``parameter temperature``."""
    words = f"{_NOUNS.get(fact.kind, fact.kind)} {fact.name}".rstrip()
    return clean(f"{words} of {fact.where}" if fact.where else words)


def sentence(change: Change, before: Environment, now: Environment) -> str:
    """Return the description of a change: both values, or the first words that differ if the content was stored."""
    fact = change.fact
    if change.before == (ABSENT,):
        return f"{noun(fact)}: new{_shown(change.now, fact)}"
    if change.now == (ABSENT,):
        return f"{noun(fact)}: gone{_shown(change.before, fact)}"
    old_text, new_text = _text(change, 0, before), _text(change, 1, now)
    if fact.kind == "system prompt" and is_same_template(fact.where, before, now):
        fact = fact._replace(name="(same template)")
    if old_text is not None and new_text is not None:
        if old_text == new_text:
            return f"{noun(fact)}: differs where it was redacted"
        return f"{noun(fact)}: {word_difference(old_text, new_text)}"
    old, new = (", ".join(contents) for contents in (change.before, change.now))
    if fact.kind == "code":
        old, new = old[:12], new[:12]
    return f"{noun(fact)}: {old} -> {new}{' (digests)' if fact.kind in _DIGESTS else ''}"


def _text(change: Change, side: int, environment: Environment) -> str | None:
    """Return the content of a side (0: before, 1: now) of a change; None if it was not stored or has several values.

    Templates are not recorded, so a template's content is the system prompt that was made from it.
    """
    fact, contents = change.fact, (change.before, change.now)[side]
    if fact.kind == "prompt template":
        fact = Fact("system prompt", fact.where)
        contents = environment.facts.get(fact, ())
    return environment.texts.get((fact, contents[0])) if len(contents) == 1 else None


def _shown(contents: Sequence[str], fact: Fact) -> str:
    return "" if fact.kind in _DIGESTS else f" ({', '.join(contents)})"


def write_changes(screen: Screen, changes: Sequence[Change], before: Environment, now: Environment) -> None:
    """Print the first cause, then the other changes."""
    if not changes:
        return
    screen.prose(f"First cause: {clean(sentence(changes[0], before, now))}", "bold", "yellow")
    for number, change in enumerate(changes[1:]):
        screen.labelled("Also changed: " if not number else " " * 14, clean(sentence(change, before, now)))


def changes_as_json(changes: Sequence[Change], before: Environment, now: Environment) -> list[dict[str, Any]]:
    return [
        {**change.fact._asdict(), "before": list(change.before), "now": list(change.now), "text": sentence(change, before, now)}
        for change in changes
    ]


def write_facts(screen: Screen, environment: Environment) -> None:
    """Print one line for each value of each fact, grouped by agent."""
    agents = dict.fromkeys(fact.where for fact in environment.facts)
    width = min(_WIDEST, max((len(_label(fact)) for fact in environment.facts), default=0))
    for agent in sorted(agents):
        if agent:
            screen.line(clean(agent), "bold")
        for fact, contents in environment.facts.items():
            if fact.where == agent:
                prefix = "  " if agent else ""
                label = prefix + screen.paint(pad(short(_label(fact), width), width), "dim") + "  "
                for content in contents:
                    text = environment.texts.get((fact, content))
                    shown = content if text is None else f"{content}  {text}"
                    screen.line(label + short(shown, max(24, screen.width - width - 4)))
                    label = " " * (len(prefix) + width + 2)


def _label(fact: Fact) -> str:
    return clean(f"{_NOUNS.get(fact.kind, fact.kind) if fact.kind in ('code', 'python') else fact.kind} {fact.name}".rstrip())
