"""Wrong moves: another tool, one that is not there, arguments that do not fit, the same again and again."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from planted.pick import READS
from planted.recorded import Run, Step


def wrong_tool(run: Run, chance: Random) -> set[int] | None:
    """Another of the tools on offer, given what the right one needs as far as it takes it; it answers as it does elsewhere."""
    places = run.calls()
    others = [tool for tool in run.tools if tool.name in run.corpus]
    if not places or len(others) < 2:
        return None
    at = chance.choice(places)
    step = run.steps[at]
    other = chance.choice([tool for tool in others if tool.name != step.tool])
    values = list(step.arguments.values()) if isinstance(step.arguments, dict) else []
    needed = (other.parameters or {}).get("required") or list((other.parameters or {}).get("properties") or {})
    step.tool, step.arguments = other.name, dict(zip(needed, _stretched(values, len(needed)), strict=False))
    run.steps[at + 1].tool = other.name
    run.steps[at + 1].text = chance.choice(run.corpus[other.name])
    return {at}


def _stretched(values: list[Any], length: int) -> list[Any]:
    return [values[number % len(values)] for number in range(length)] if values else []


def unknown_tool(run: Run, chance: Random) -> set[int] | None:
    """A tool that is not on offer; the run goes on as if it had answered."""
    places = run.calls()
    if not places:
        return None
    at = chance.choice(places)
    name = run.steps[at].tool
    words = name.split("_")
    wrong = [f"{name}_v2", "_".join(reversed(words)), f"lookup_{words[-1]}", f"functions.{name}"]
    run.steps[at].tool = run.steps[at + 1].tool = chance.choice([one for one in wrong if one != name])
    run.steps[at + 1].text = chance.choice(("Error: unknown tool", f"Error: {run.steps[at].tool} is not a tool"))
    return {at}


def invalid_argument(run: Run, chance: Random) -> set[int] | None:
    """An argument that is missing, of another type, or not one of the tool's; the tool answered all the same."""
    places = [at for at in run.calls() if isinstance(run.steps[at].arguments, dict) and run.steps[at].arguments]
    if not places:
        return None
    at = chance.choice(places)
    arguments = run.steps[at].arguments
    name = chance.choice(sorted(arguments))
    fault = chance.choice(("missing", "type", "renamed"))
    value = arguments.pop(name)
    if fault == "type":
        arguments[name] = {"value": value} if not isinstance(value, list) else json.dumps(value)
    elif fault == "renamed":
        arguments[f"{name}_value"] = value
    return {at}


def malformed_arguments(run: Run, chance: Random) -> set[int] | None:
    """Arguments that are no JSON: cut off, or with a quote too many."""
    places = [at for at in run.calls() if isinstance(run.steps[at].arguments, dict) and run.steps[at].arguments]
    if not places:
        return None
    at = chance.choice(places)
    text = json.dumps(run.steps[at].arguments)
    run.steps[at].arguments = chance.choice((text[: chance.randint(2, len(text) - 1)], text.replace(":", ":'", 1), f"{text}}}"))
    run.steps[at + 1].text = "Error: arguments could not be read"
    return {at}


def loop(run: Run, chance: Random) -> set[int] | None:
    """One call again and again; in half of the runs the model then gives up."""
    places = run.calls()
    if not places:
        return None
    at = chance.choice(places)
    asked, told = run.steps[at], run.steps[at + 1]
    times = chance.randint(3, 6)
    again = [Step(s.role, s.text, s.tool, s.arguments) for _ in range(times) for s in (asked, told)]
    run.steps[at + 2 : at + 2] = again
    if chance.random() < 0.5:
        run.steps[at + 2 + len(again) :] = [Step("assistant", "I'm sorry, I was not able to complete this request.")]
    return {at, at + 2}


def duplicate_side_effect(run: Run, chance: Random) -> set[int] | None:
    """A call that changes something made twice: at once, or after the next words of the user."""
    places = [at for at in run.calls() if not READS.search(run.steps[at].tool)]
    if not places:
        return None
    at = chance.choice(places)
    asked, told = run.steps[at], run.steps[at + 1]
    turns = [n + 1 for n in range(at + 2, len(run.steps)) if run.steps[n].role == "user"]
    where = chance.choice([at + 2, *turns[:1]])
    run.steps[where:where] = [Step("assistant", "", asked.tool, asked.arguments), Step("tool", told.text, told.tool)]
    return {where}
