"""Failures planted into good recorded runs. `VISIBLE_KINDS` are kinds that a record can show; of `OTHER_KINDS` it shows less.

A planter takes a `Run` and a source of chance, changes the run, and gives the steps at which the failure now begins, or None
where the run has no place for it. What follows from the failure follows too: a tool that was given another id answers with that
id, a number that was misread is repeated by later answers.
"""

from planted import answers, context, moves, results, values
from planted.visible import VISIBLE_KINDS, Planter, in_one_task

OTHER_KINDS: dict[str, Planter] = {
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
        results.changed_result_shape,
        results.injected_instruction,
        context.bad_handoff,
        context.bad_summary,
        context.skipped_lookup,
        moves.wrong_tool,
        moves.unknown_tool,
        moves.invalid_argument,
        moves.malformed_arguments,
        moves.duplicate_side_effect,
        answers.answer_contradicts,
        answers.answer_made_up,
        answers.claimed_not_done,
        answers.cut_answer,
    )
}
CONTROLS: dict[str, Planter] = {planter.__name__: planter for planter in (context.right_handoff, context.right_summary)}
"""What looks like one of these failures and is none."""

__all__ = ["CONTROLS", "OTHER_KINDS", "VISIBLE_KINDS", "Planter", "in_one_task"]
