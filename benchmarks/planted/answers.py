"""Answers that say what the evidence does not: another value, one of nowhere, a thing that was never done, half a sentence."""

from __future__ import annotations

import re
from random import Random

from planted.pick import READS, alike, amounts, invented, is_id
from planted.recorded import Run

_WORD = re.compile(r"#?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
ALL = ("assistant", "tool", "user")


def answer_contradicts(run: Run, chance: Random) -> set[int] | None:
    """An answer with the value of another record or field in place of the one that the result gave for it."""
    places = []
    for at, value in _stated(run):
        others = alike(run, at, value)
        places += [(at, value, others)] if others else []
    for at, value in amounts(run, "assistant"):
        known = {found for n, found in amounts(run, "assistant", "user") if n < at and found != value}
        places += [(at, value, sorted(known))] if known else []
    if not places:
        return None
    at, value, others = chance.choice(places)
    run.steps[at].text = run.steps[at].text.replace(value, chance.choice(others))
    return {at}


def answer_made_up(run: Run, chance: Random) -> set[int] | None:
    """An answer with a value of nowhere in place of the one that the result gave."""
    places = [*_stated(run), *amounts(run, "assistant")]
    if not places:
        return None
    at, value = chance.choice(places)
    said = run.before(len(run.steps), *ALL)
    new = f"${chance.randint(10_101, 299_999) / 100:,.2f}" if value.startswith("$") else invented(chance, value, said)
    run.steps[at].text = run.steps[at].text.replace(value, new)
    return {at}


def _stated(run: Run) -> list[tuple[int, str]]:
    """Ids in answers that a user or a tool said before."""
    found = []
    for at, step in enumerate(run.steps):
        if step.role == "assistant" and not step.is_call:
            known = run.before(at, "tool", "user")
            found += [(at, word) for word in dict.fromkeys(_WORD.findall(step.text)) if is_id(word) and word in known]
    return found


def claimed_not_done(run: Run, chance: Random) -> set[int] | None:
    """The answer says that something was done, and the call that does it was never made."""
    places = [at for at in run.calls() if not READS.search(run.steps[at].tool)]
    places = [at for at in places if at + 2 < len(run.steps) and run.steps[at + 2].role == "assistant"]
    places = [at for at in places if not run.steps[at + 2].is_call and run.steps[at + 2].text]
    if not places:
        return None
    at = chance.choice(places)
    del run.steps[at : at + 2]
    return {at}


def cut_answer(run: Run, chance: Random) -> set[int] | None:
    """An answer that ends in the middle of a sentence, since the limit of tokens was reached."""
    places = [at for at, step in enumerate(run.steps) if step.role == "assistant" and not step.is_call and len(step.text) > 80]
    if not places:
        return None
    at = chance.choice(places)
    text = run.steps[at].text
    run.steps[at].text, run.steps[at].finish = text[: chance.randint(30, len(text) - 20)], "length"
    return {at}
