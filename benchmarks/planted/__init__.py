"""Failures planted into good recorded runs: `KINDS` are the planters, each a function that changes a copy of a run.

A planter takes a `Run` and a source of chance, and gives the steps at which the failure now begins, or None where the run
has no place for it. What follows from the failure follows too: a tool that was given another id answers with that id, a number
that was misread is repeated by later answers.
"""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from planted import answers, context, moves, results, values
from planted.recorded import Run

Planter: TypeAlias = Callable[[Run, Random], "set[int] | None"]

KINDS: dict[str, Planter] = {
    planter.__name__: planter
    for planter in (
        values.wrong_id,
        values.made_up_id,
        values.made_up_date,
        values.wrong_field,
        values.unit_mixup,
        values.misparsed_number,
        values.stale_after_correction,
        values.stale_after_update,
        values.dropped_element,
        values.user_mistake,
        results.swallowed_error,
        results.ignored_failure,
        results.tool_raised,
        results.empty_result,
        results.truncated_result,
        results.changed_result_shape,
        results.injected_instruction,
        context.truncated_context,
        context.bad_handoff,
        context.bad_summary,
        context.skipped_lookup,
        moves.wrong_tool,
        moves.unknown_tool,
        moves.invalid_argument,
        moves.malformed_arguments,
        moves.loop,
        moves.duplicate_side_effect,
        answers.answer_contradicts,
        answers.answer_made_up,
        answers.claimed_not_done,
        answers.cut_answer,
    )
}
CONTROLS: dict[str, Planter] = {planter.__name__: planter for planter in (context.right_handoff, context.right_summary)}
"""What looks like one of these failures, and is none."""
