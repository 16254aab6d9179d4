"""A tool call broke the JSON Schema of its tool, or named a tool that was not offered (`unknown_tool`). The span's violations
name every field.

* Labels: `never_right`: the tool failed, and no later call of it was right; `ran`: a change ran with the invalid arguments;
  `unknown_tool`: certain, or possible; `corrected`: possible; the code of the first violation: a fact about each such call
* Bad: `refund(amount="42")`, but the schema requires a number, and the refund ran.
* Good: A valid call; a call that was refused, and then made rightly; a definition that is not a valid schema.

`on_invalid` decides what happens to such a call (see docs/reference/validation.md). Arguments that an instrumentation wrapped
or guessed are not judged. A call that was the run's last word, as of an output tool, counts as right if it was valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.laws._answers import breach
from llmtrace.laws._failure_text import advice_for_tool, how_call_failed, how_reviewed
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call, quote
from llmtrace.model import Confidence, Evaluation, Inference, Span, ToolExecution, Violation
from llmtrace.reading.calls import Call
from llmtrace.reading.ended_run import EndedRun

_REPLY = 'Let the tool refuse bad calls and tell the model why: @llmtrace.tool(on_invalid="reply").'


class InvalidToolCall(Law[None]):
    name = "invalid_tool_call"
    advice = "Describe the arguments in the tool's schema so that the model can meet it, or answer the call with its errors."
    looks_at = (Inference, ToolExecution)
    when = "violations"
    needs = ("calls", "schemas", "facts")

    def step(self, state: None, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        calls: dict[tuple[int | None, str | None, str | None], list[Violation]] = {}
        for violation in span.violations:
            if violation.where == "arguments" and violation.code != "schema":
                calls.setdefault((violation.choice, violation.call_id, violation.tool), []).append(violation)
        evaluations = []
        for (_, _, tool), violations in calls.items():
            # The name of a tool that was not offered is the model's own word, so it is content.
            is_known = tool and all(violation.code != "unknown_tool" for violation in violations)
            subject = f"the call of {f'`{tool}`' if is_known else 'a tool'}"
            evaluations.append(breach(self.name, subject, "its schema", violations))
        return evaluations

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for call in run.calls:
            if call.offered is False:
                if call.failed is not False:
                    yield self._unknown_tool(run, call)
            elif call.error_violations:
                yield self._invalid(run, call, call.error_violations[0])

    def _invalid(self, run: EndedRun, call: Call, violation: Violation) -> Finding:
        label, confidence, outcome = _outcome(run, call)
        evidence = f"{violation.pointer or 'The arguments'}: {violation.message}; {outcome}."
        return of_call(
            self.name, label, confidence, call, f"{call.name} was called with {_fault(violation)}", evidence,
            _advice(call, violation), pointer=violation.pointer or None,
            value=violation.got if violation.pointer else call.arguments,
            cause_key=(call.tool, violation.pointer, violation.code),
        )  # fmt: skip

    def _unknown_tool(self, run: EndedRun, call: Call) -> Finding:
        replaced = any(later.offered and later.failed is False for later in run.later_calls(call))
        then = "another tool was used later" if replaced else "nothing replaced it"
        certain = not replaced and run.is_answered and not run.is_in_dialogue(call)
        confidence: Confidence = "certain" if certain else "possible"
        return of_call(
            self.name, "unknown_tool", confidence, call, "a tool that does not exist was called",
            f"No tool named {quote(call.tool)} was on offer; {then}.",
            "Name the tools in the prompt as they are defined, and tell the model when a name is unknown.", cause_key=call.tool,
        )  # fmt: skip


def _outcome(run: EndedRun, call: Call) -> tuple[str, Confidence, str]:
    """Return the label, the confidence that the run went wrong by an invalid call, and the outcome of the call in words."""
    if call.failed:
        if any(_was_right(run, later) for later in run.later_calls(call, call.tool)):
            return "corrected", "possible", f"{call.tool} {how_call_failed(call)}; a later call was right"
        is_over = run.is_over_after(run.failures_by_tool[call.tool])
        confidence: Confidence = "certain" if is_over and not run.is_in_dialogue(call) else "possible"
        return "never_right", confidence, f"{call.tool} {how_call_failed(call)}; no later call was right"
    if reviewed := how_reviewed(call):
        return "corrected", "possible", reviewed
    if call.execution is None and any(_was_right(run, later) for later in run.later_calls(call, call.tool)):
        return "corrected", "possible", "a later call was right"  # as of an output tool, which no span shows
    if call.failed is False and call.is_change:
        return "ran", "certain", f"{call.tool} changes something, and it ran all the same"
    outcome = f"{call.tool} answered all the same" if call.failed is False else "what came of it is not recorded"
    return "corrected", "possible", outcome


def _was_right(run: EndedRun, call: Call) -> bool:
    """Return True for a valid call that succeeded, or that was the run's last word, as of an output tool."""
    is_last_word = call.failed is None and call.said_in == run.calls[-1].said_in and not run.has_failed
    return not call.error_violations and (call.failed is False or is_last_word)


def _fault(violation: Violation) -> str:
    """Return a violation as words that follow "was called with"."""
    place = violation.pointer or "arguments"
    return {
        "malformed_json": "arguments that are not JSON",
        "not_an_object": "arguments that are not an object",
        "missing": f"{place} missing",
        "unexpected": "an argument that it does not take",
        "wrong_type": f"{place} of the wrong type",
        "out_of_range": f"{place} out of range",
        "not_allowed": f"{place} not allowed",
        "bad_format": f"{place} in the wrong format",
    }.get(violation.code, f"invalid {place}" if not violation.pointer else f"an invalid {place}")


def _advice(call: Call, violation: Violation) -> str:
    if violation.code in ("malformed_json", "not_an_object"):
        return "Use strict tool calls (strict=True) so that the arguments are always a JSON object."
    return _REPLY if call.executed else advice_for_tool(call)


SIGNAL = InvalidToolCall()
