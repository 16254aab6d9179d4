"""Failures that the record itself shows: planted only where a law of llmtrace speaks of them.

A law may need a run with one task, since in a conversation the user sees what failed and can answer. `in_one_task` makes such a
run: the user says everything first, and the agent's only words are its last answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TypeAlias

from planted import answers, context, moves, results, values
from planted.pick import READS, ids_in_calls
from planted.recorded import Run, Step

Planter: TypeAlias = Callable[[Run, Random], "set[int] | None"]
Condition: TypeAlias = Callable[[Run, int], bool]


def in_one_task(run: Run) -> Run:
    steps = run.steps
    last_call = max(run.calls(), default=0)
    task = "\n".join(step.text for step in steps[:last_call] if step.role == "user")
    first = next((at for at, step in enumerate(steps) if step.role == "user"), 0)
    acts = [step for step in steps[first:] if step.is_call or step.role == "tool"]
    answer = next(
        (step for step in reversed(steps) if step.role == "assistant" and not step.is_call), Step("assistant", "Done.")
    )
    run.steps = [*steps[:first], Step("user", task), *acts, answer]
    return run


def _went_through(run: Run, at: int) -> bool:
    """A change whose result tells of no error."""
    return run.steps[at].is_call and not READS.search(run.steps[at].tool) and not run.steps[at + 1].text.startswith("Error")


def _made_up_in_change(run: Run, at: int) -> bool:
    return _went_through(run, at) and at in _made_up(run)


def _made_up_later(run: Run, at: int) -> bool:
    return any(number >= at for number in _made_up(run))


def _made_up(run: Run) -> set[int]:
    """The calls in which a whole argument is an identifier of letters and digits that stands nowhere before."""
    identifiers = ((at, leaf) for at, path, leaf in ids_in_calls(run) if len(path) == 1 and any(map(str.isalpha, leaf)))
    return {at for at, leaf in identifiers if leaf not in run.before(at, "system", "user", "assistant", "tool")}


def _is_still_used(run: Run, at: int) -> bool:
    """A later call has a value that only this result gives."""
    return bool(results.values_used_later(run, at))


def _is_last_answer(run: Run, at: int) -> bool:
    return not any(step.role == "assistant" for step in run.steps[at + 1 :])


def _is_last_call(run: Run, at: int) -> bool:
    return not any(step.is_call for step in run.steps[at + 1 :])


def _is_near_end(run: Run, at: int) -> bool:
    """The same tool is not called again, and at most four calls follow."""
    later = [step.tool for step in run.steps[at + 1 :] if step.is_call]
    return len(later) < 5 and run.steps[at].tool not in later


def _is_repeated_at_once(run: Run, at: int) -> bool:
    first = run.steps[at - 2]
    return (first.tool, first.arguments) == (run.steps[at].tool, run.steps[at].arguments)


def _where(plant: Planter, holds: Condition, *, one_task: bool = False) -> Planter:
    """The planter, restricted to places where the condition holds."""

    def planter(run: Run, chance: Random) -> set[int] | None:
        truth = plant(in_one_task(run) if one_task else run, chance)
        return truth if truth and all(holds(run, at) for at in truth) else None

    return planter


VISIBLE_KINDS: Mapping[str, tuple[str, Planter]] = {
    "loop": ("certain: the same call and result three times", moves.loop),
    "truncated_result, still used": (
        "certain: a result cut in mid-JSON was used", _where(results.truncated_result, _is_still_used),
    ),
    "cut_answer, the last": ("certain: the last answer was cut", _where(answers.cut_answer, _is_last_answer)),
    "invalid_argument, in a change": (
        "certain: a change ran with an invalid call", _where(moves.invalid_argument, _went_through),
    ),
    "duplicate_side_effect, at once": (
        "certain: a declared change was made twice",
        _where(moves.duplicate_side_effect, lambda run, at: _is_repeated_at_once(run, at) and _went_through(run, at)),
    ),
    "unknown_tool, one task": (
        "certain: nothing replaced an unknown tool", _where(moves.unknown_tool, _is_last_call, one_task=True),
    ),
    "ignored_failure, one task": (
        "certain: a change failed for good", _where(results.ignored_failure, _is_near_end, one_task=True),
    ),
    "tool_raised, one task": (
        "certain or likely: a tool never succeeded", _where(results.tool_raised, _is_near_end, one_task=True),
    ),
    "swallowed_error, one task": (
        "certain or likely: a tool never succeeded", _where(results.swallowed_error, _is_near_end, one_task=True),
    ),
    "malformed_arguments, one task": (
        "certain: no call with valid arguments followed", _where(moves.malformed_arguments, _is_near_end, one_task=True),
    ),
    "made_up_id, in a change": ("likely: a change went through with it", _where(values.made_up_id, _made_up_in_change)),
    "truncated_context, missed": (
        "likely: what was lost was made up again", _where(context.truncated_context, _made_up_later),
    ),
}  # fmt: skip
"""Kinds that a record can show, each with what its law says and its planter."""
