"""What the model no longer knows, or was told wrongly by another: lost messages, hand-offs, summaries, lookups left out."""

from __future__ import annotations

from random import Random
from typing import TypeAlias

from planted.pick import Path, alike, ids_in_calls, invented, put
from planted.recorded import Run, Step

ALL = ("assistant", "tool", "user")

Told: TypeAlias = "tuple[int, list[tuple[Path, str]], dict[str, str]]"
"""Where something is handed on, which values, and which of them wrong."""


def truncated_context(run: Run, chance: Random) -> set[int] | None:
    """From some inference on, the first messages are not sent any more; a later call needs a value of them and has another."""
    places = []
    for at, path, value in ids_in_calls(run):
        said = [n for n in range(1, at) if value in run.steps[n].said]
        between = [n for n in range((said or [at])[-1] + 1, at + 1) if run.steps[n].role == "assistant"]
        places += [(at, path, value, n) for n in between if said and n >= 4]
    if not places:
        return None
    at, path, value, start = chance.choice(places)
    last = max(n for n in range(1, at) if value in run.steps[n].said)
    forgotten = chance.randint(last + 1, start)
    while forgotten < start and run.steps[forgotten].role == "tool":
        forgotten += 1
    if run.steps[forgotten - 1].is_call:
        return None  # a result whose call was cut off is refused by every provider
    run.steps[start].forgets = forgotten
    new = invented(chance, value, run.before(len(run.steps), *ALL))
    put(run.steps[at].arguments, path, new)
    run.replaced(value, new, start=at + 1, stop=at + 2, roles=("tool",))
    return {start}


def bad_handoff(run: Run, chance: Random) -> set[int] | None:
    """One agent hands over to another and gets a value wrong; the other knows only what it was told."""
    return _hand_over(run, _handed(run, chance))


def right_handoff(run: Run, chance: Random) -> set[int] | None:
    """The same with every value as it was: no failure."""
    return _hand_over(run, _handed(run, chance, right=True))


def _hand_over(run: Run, chosen: Told | None) -> set[int] | None:
    if chosen is None:
        return None
    where, facts, wrong = chosen
    lines = "\n".join(f"- {_name(path)}: {wrong.get(value, value)}" for path, value in facts)
    told = Step("assistant", f"Handing over to the next agent. What is known:\n{lines}")
    for step in run.steps[where:]:
        step.agent = "second"
    run.steps.insert(where, told)
    return {where}


def bad_summary(run: Run, chance: Random) -> set[int] | None:
    """The conversation is summarised to save room, with a wrong value in the summary."""
    return _sum_up(run, _handed(run, chance))


def right_summary(run: Run, chance: Random) -> set[int] | None:
    """The same with every value as it was: no failure."""
    return _sum_up(run, _handed(run, chance, right=True))


def _sum_up(run: Run, chosen: Told | None) -> set[int] | None:
    if chosen is None:
        return None
    where, facts, wrong = chosen
    lines = "; ".join(f"{_name(path)} {wrong.get(value, value)}" for path, value in facts)
    run.steps.insert(where, Step("assistant", f"Summary of the conversation so far: {lines}."))
    for step in run.steps[where + 1 :]:
        if step.role == "assistant":
            step.forgets = where
            break
    return {where}


def _handed(run: Run, chance: Random, *, right: bool = False) -> Told | None:
    """A place between two turns, what later calls need of what was said before, and, unless all is to be ``right``, one of
    these values wrong; the rest of the run then has the wrong one."""
    places = []
    for where in (n for n in range(3, len(run.steps)) if run.steps[n].role == "assistant"):
        known = run.before(where, *ALL)
        needed = {value: path for at, path, value in ids_in_calls(run) if at >= where and value in known}
        if needed and run.steps[where - 1].role != "assistant":
            places.append((where, needed))
    if not places:
        return None
    where, needed = chance.choice(places)
    facts = [(path, value) for value, path in needed.items()]
    if right:
        return where, facts, {}
    value = chance.choice(sorted(needed))
    others = alike(run, where, value)
    nowhere = invented(chance, value, run.before(len(run.steps), *ALL))
    new = chance.choice(others) if others and chance.random() < 0.5 else nowhere
    run.replaced(value, new, start=where, roles=("assistant", "tool"))
    return where, facts, {value: new}


def _name(path: Path) -> str:
    return str(next((name for name in reversed(path) if isinstance(name, str)), "value")).replace("_", " ")


def skipped_lookup(run: Run, chance: Random) -> set[int] | None:
    """A lookup that was not made: a later call has a value that only it would have given, or another one."""
    places = []
    for at, path, value in ids_in_calls(run):
        sources = [n for n in run.calls() if n + 1 < at and value in run.steps[n + 1].text]
        if len(sources) != 1 or value in run.before(sources[0] + 1, *ALL):
            continue
        if not any(value in run.steps[n].said for n in range(sources[0] + 2, at)):
            places.append((at, path, value, sources[0]))
    if not places:
        return None
    at, path, value, source = chance.choice(places)
    if chance.random() < 0.5:
        put(run.steps[at].arguments, path, invented(chance, value, run.before(len(run.steps), *ALL)))
    del run.steps[source : source + 2]
    return {at - 2}
