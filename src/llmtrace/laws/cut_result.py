"""The result of a tool begins as JSON and ends in the middle.

* Labels: `used`: certain, if a value of the result was used afterwards; `cut`: possible
* Bad: A list of orders is cut after 4,000 characters, and the next call takes an order from it.
* Good: A part of a file that ends with a whole line, which was read on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call
from llmtrace.reading.calls import Call
from llmtrace.reading.ended_run import MOST_LATER, EndedRun
from llmtrace.reading.result_form import is_cut_json


class CutResult(Law[None]):
    name = "cut_result"
    advice = "Have the tool give pages or fewer fields, so that its result is never cut."
    needs = ("results",)

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for call in run.calls:
            if call.failed or not isinstance(call.result, str) or not is_cut_json(call.result):
                continue
            if "\n" in call.result.strip() and call.result.endswith(("\n", ",", "{", "[")):
                continue  # some lines of a file, which were read on purpose
            is_used = _is_used(run, call)
            evidence = f"The result of {call.tool} begins as JSON and ends in the middle"
            evidence += ", and a value of it was used afterwards." if is_used else "."
            yield of_call(
                self.name, "used" if is_used else "cut", "certain" if is_used else "possible", call,
                f"the result of {call.name} was cut", evidence,
                f"Have {call.tool} give pages or fewer fields, so that its result is never cut.", cause_key=call.tool,
            )  # fmt: skip


def _is_used(run: EndedRun, call: Call) -> bool:
    later = (step for step in run.steps if step.position > call.position and step.kind != "user")
    return any(run.feeds(call, step) for step in islice(later, MOST_LATER))


SIGNAL = CutResult()
