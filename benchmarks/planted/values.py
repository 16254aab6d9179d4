"""Wrong values in calls: of another record, of nowhere, of another unit, out of date, or wrong since the user said them."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

from planted.pick import alike, amounts, dates_in_calls, ids_in_calls, invented, leaves, put
from planted.recorded import Run, Step

_GIVING_UP = ("I'm sorry, I could not find that record.", "Unfortunately I am unable to locate it with these details.")
MODEL = ("assistant",)
ALL = ("assistant", "tool", "user")


def wrong_id(run: Run, chance: Random) -> set[int] | None:
    """An id of the same form that an earlier result or the user named, of another record."""
    places = [(at, path, old, found) for at, path, old in ids_in_calls(run) if (found := alike(run, at, old))]
    if not places:
        return None
    at, path, old, found = chance.choice(places)
    return _other(run, chance, at, path, old, chance.choice(found))


def made_up_id(run: Run, chance: Random) -> set[int] | None:
    """An id of the same form that nobody said."""
    places = ids_in_calls(run)
    if not places:
        return None
    at, path, old = chance.choice(places)
    return _other(run, chance, at, path, old, invented(chance, old, run.before(len(run.steps), *ALL)))


def _other(run: Run, chance: Random, at: int, path: tuple[object, ...], old: str, new: str) -> set[int]:
    """The tool answers what it was asked; in half of the cases the model stays with the value."""
    put(run.steps[at].arguments, path, new)
    run.replaced(old, new, start=at + 1, stop=at + 2, roles=("tool",))
    if chance.random() < 0.5:
        run.replaced(old, new, start=at + 2, roles=("assistant", "tool"))
    return {at}


def made_up_date(run: Run, chance: Random) -> set[int] | None:
    """A date some days or weeks off."""
    places = dates_in_calls(run)
    if not places:
        return None
    at, path, old = chance.choice(places)
    new = (date.fromisoformat(old) + timedelta(chance.choice((-1, 1)) * chance.randint(2, 90))).isoformat()
    put(run.steps[at].arguments, path, new)
    run.replaced(old, new, start=at + 1, stop=at + 2, roles=("tool",))
    return {at}


def wrong_field(run: Run, chance: Random) -> set[int] | None:
    """Two arguments of one call, each with the other's value; the tool answered all the same."""
    places = []
    for at in run.calls():
        texts = [(path, leaf) for path, leaf in leaves(run.steps[at].arguments) if isinstance(leaf, str) and len(path) == 1]
        pairs = [(one, two) for one in texts for two in texts if one[0] < two[0] and one[1] != two[1]]
        places += [(at, one, two) for one, two in pairs]
    if not places:
        return None
    at, (first, one), (second, two) = chance.choice(places)
    put(run.steps[at].arguments, first, two)
    put(run.steps[at].arguments, second, one)
    return {at}


def unit_mixup(run: Run, chance: Random) -> set[int] | None:
    """A sum of money a hundred or a thousand times too large or too small."""

    def mixed(amount: float) -> str:
        factor = chance.choice((100, 0.01, 1000))
        return f"${amount * factor:,.2f}"

    return _misread(run, chance, mixed)


def misparsed_number(run: Run, chance: Random) -> set[int] | None:
    """A sum of money of which a separator was overlooked or taken for its end, or two digits have changed places."""

    def misread(amount: float) -> str:
        digits = f"{amount:.2f}"
        wrong = [digits.replace(".", ""), digits[1:] if amount >= 1 else digits + "0", digits[: len(digits) // 2]]
        if digits[0] != digits[1] and digits[1] != ".":
            wrong.append(digits[1] + digits[0] + digits[2:])
        return "$" + chance.choice([text for text in wrong if text.strip("0.")] or ["1"])

    return _misread(run, chance, misread)


def _misread(run: Run, chance: Random, wrong: object) -> set[int] | None:
    """In an answer that quotes a result; later answers repeat it."""
    places = []
    for at, found in amounts(run, "assistant"):
        number = float(found[1:].replace(",", ""))
        known = run.before(at, "tool")
        if number and any(text in known for text in (found[1:].replace(",", ""), f"{number:g}", str(number))):
            places.append((at, found, number))
    if not places:
        return None
    at, old, number = chance.choice(places)
    new = wrong(number)  # type: ignore[operator]
    if new == old:
        return None
    first = next(number for number, step in enumerate(run.steps) if step.role == "assistant" and old in step.text)
    run.replaced(old, new, start=min(at, first), roles=MODEL)
    return {min(at, first)}


def stale_after_correction(run: Run, chance: Random) -> set[int] | None:
    """The user corrects a value, and the call has the one before."""
    places = []
    for at, path, value in ids_in_calls(run):
        turns = [n for n in range(at) if run.steps[n].role == "user" and value in run.steps[n].text]
        later = [n for n in range(turns[0] + 1, at) if run.steps[n].role == "user"] if turns else []
        if later and not any(value in run.steps[n].said for n in range(turns[0] + 1, at) if run.steps[n].role != "user"):
            places.append((at, path, value, turns[0], later[0]))
    if not places:
        return None
    at, path, value, first, then = chance.choice(places)
    old = invented(chance, value, run.before(len(run.steps), *ALL))
    run.replaced(value, old, start=first, stop=then, roles=("user",))
    run.steps[then].text += chance.choice(
        (f" Sorry, I misspoke: it is {value}, not {old}.", f" Correction: use {value} instead of {old}, please.")
    )
    put(run.steps[at].arguments, path, old)
    run.replaced(value, old, start=at + 1, stop=at + 2, roles=("tool",))
    return {at}


def stale_after_update(run: Run, chance: Random) -> set[int] | None:
    """A tool was asked again and gave another value, and the call has the one before."""
    places = []
    for at, path, value in ids_in_calls(run):
        from_tool = [n for n in run.calls() if n + 1 < at and value in run.steps[n + 1].text and value not in run.steps[n].said]
        if from_tool and value not in run.before(at, "user") and value not in run.before(from_tool[0], "tool"):
            places.append((at, path, value, from_tool[0]))
    if not places:
        return None
    at, path, value, first = chance.choice(places)
    old = invented(chance, value, run.before(len(run.steps), *ALL))
    asked, told = run.steps[first], run.steps[first + 1]
    again = [Step("assistant", "", asked.tool, asked.arguments), Step("tool", told.text, told.tool)]
    run.replaced(value, old, start=first + 1, stop=at, roles=("tool", "assistant", "user"))
    where = chance.choice([n for n in range(first + 2, at + 1) if run.steps[n].role == "assistant"])
    put(run.steps[at].arguments, path, old)
    run.replaced(value, old, start=at + 1, stop=at + 2, roles=("tool",))
    run.steps[where:where] = again
    return {at + 2}


def dropped_element(run: Run, chance: Random) -> set[int] | None:
    """One of the elements of a list that was asked for is missing in the call."""
    places = []
    for at in run.calls():
        arguments = run.steps[at].arguments
        if isinstance(arguments, dict):
            places += [(at, name) for name, value in arguments.items() if isinstance(value, list) and len(value) > 1]
    if not places:
        return None
    at, name = chance.choice(places)
    held = run.steps[at].arguments[name]
    del held[chance.randrange(len(held))]
    return {at}


def user_mistake(run: Run, chance: Random) -> set[int] | None:
    """The user gives a wrong value, the lookup finds nothing, the run gives up."""
    places = []
    for at, _, value in ids_in_calls(run):
        turns = [n for n in range(at) if run.steps[n].role == "user" and value in run.steps[n].text]
        if turns and value not in run.before(at, "tool"):
            places.append((at, value, turns[0]))
    if not places:
        return None
    at, value, turn = chance.choice(places)
    new = invented(chance, value, run.before(len(run.steps), *ALL))
    run.replaced(value, new, start=turn, roles=ALL)
    run.steps[at + 1].text = chance.choice(("Error: not found", '{"error": "no such record"}', f"Error: {new} does not exist"))
    run.steps[at + 2 :] = [Step("assistant", chance.choice(_GIVING_UP))]
    return {~turn}
