"""A tool call breaks the JSON Schema of its tool, or names a tool that was not offered. Each call counts once. The span's
violations name every field.

* Labels: the code of the first violation: error, or warning if it only breaks the closed form of the schema
* On: the inference, and the tool execution.
* Bad: `refund(amount="42")`, but the schema requires a number (`wrong_type`).
* Good: A valid call; a definition that is not a valid schema.

`on_invalid` decides what happens to such a call (see docs/reference/validation.md). Arguments that an instrumentation wrapped
or guessed are not judged.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.laws._shared import breach
from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Inference, Span, ToolExecution, Violation


def check(span: Span) -> Iterable[Evaluation]:
    calls: dict[tuple[int | None, str | None, str | None], list[Violation]] = {}
    for violation in span.violations:
        if violation.where == "arguments" and violation.code != "schema":
            calls.setdefault((violation.choice, violation.call_id, violation.tool), []).append(violation)
    evaluations = []
    for (_, _, tool), violations in calls.items():
        # The name of a tool that was not offered is the model's own word, so it is content.
        is_known = tool and all(violation.code != "unknown_tool" for violation in violations)
        subject = f"the call of {f'`{tool}`' if is_known else 'a tool'}"
        evaluations.append(breach(SIGNAL.name, subject, "its schema", violations))
    return evaluations


SIGNAL = Stateless(
    "invalid_tool_call",
    check,
    looks_at=(Inference, ToolExecution),
    needs="violations",
    advice="Describe the arguments in the tool's schema so that the model can meet it, or answer the call with its errors.",
)
