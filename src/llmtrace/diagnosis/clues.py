"""Every clue of a trace. A new kind of clue is a function in one of the modules used here, a weight in `score`, and a test."""

from __future__ import annotations

from llmtrace.diagnosis import (
    answered,
    budgets,
    calls,
    circles,
    described,
    findings,
    lists,
    losses,
    made_up,
    records,
    repeats,
    spoken,
    sums,
    told,
)
from llmtrace.diagnosis.aftermath import Aftermath
from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.descriptions import Descriptions
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.sightings import Sightings
from llmtrace.model import Trace


def find_clues(trace: Trace, flow: Flow) -> list[Clue]:
    """In no order."""
    after, seen, known = Aftermath(trace, flow), Sightings(flow), Descriptions(flow)
    clues = [
        *made_up.made_up(trace, flow, after),
        *calls.invalid(trace, flow, after),
        *calls.failed(flow, after),
        *calls.empty(flow, after),
        *circles.circles(trace, flow),
        *calls.given_wrong(flow, after),
        *records.of_other_records(flow, seen),
        *records.answered_for_another(flow),
        *records.out_of_date(flow, seen),
        *records.taken_back(flow, seen),
        *records.misplaced(flow, seen),
        *lists.incomplete(flow, seen),
        *lists.skipped(flow),
        *answered.cut_off(flow),
        *answered.reshaped(trace, flow),
        *answered.giving_orders(flow),
        *repeats.done_twice(flow),
        *repeats.in_another_form(trace, flow),
        *told.misread(flow),
        *told.not_done(trace, flow),
        *told.of_another_matter(flow, seen),
        *told.mislabelled(flow, seen),
        *told.listed_twice(flow, seen),
        *told.of_another_thing(flow, seen),
        *told.of_another_record(flow, seen),
        *described.answered(flow, known),
        *described.called(flow, known),
        *sums.no_difference(flow),
        *spoken.past_the_user(flow, seen),
        *spoken.against_the_call(flow, seen),
        *losses.forgotten(trace, flow, seen),
        *findings.interrupted(trace),
        *findings.errors(trace, flow),
        *findings.findings(trace, flow),
    ]
    return [*clues, *budgets.stopped(trace, flow, clues)]
