"""The model puts a value into a tool call that nothing visible contains: it made the value up.

Judged when the model speaks, before the tool runs, and once for each value: where the same value is used again, the finding
stands at its first use. Only values that can be made up count (identifiers, numbers, dates, addresses, paths; see
`llmtrace.lineage`), in whatever form they were written. Labels: ``made_up``, and ``from_example`` where only the tool's own
definition shows the value. Informational: a model may know a value from elsewhere. Where context is not visible
(``previous_response_id``, images, tools that the provider runs, content that was cut), nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.lineage import NOUNS, Lineage, Use
from llmtrace.model import Evaluation, Span
from llmtrace.signals import Signal
from llmtrace.signals._traits import CALLS

LONGEST_EVIDENCE = 200
"""Characters of a value that the evidence shows."""


class UngroundedArgument:
    name = "ungrounded_argument"
    alone = CALLS

    def start(self) -> Lineage:
        return Lineage(thorough=False)

    def step(self, state: Lineage, span: Span) -> Iterable[Evaluation]:
        uses = state.add(span)
        if not uses:
            return ()
        return [self._evaluation(use) for use in uses if use.made_up]

    def _evaluation(self, use: Use) -> Evaluation:
        example = use.provenance.form == "from_example"
        where = "stands only in the tool's own definition" if example else "no message or result contains"
        noun = NOUNS[use.kind]
        return Evaluation(
            self.name,
            "info",
            f"{use.told}: {noun} that {where}",
            label="from_example" if example else "made_up",
            evidence={"value": use.value[:LONGEST_EVIDENCE] if isinstance(use.value, str) else use.value, "kind": use.kind},
            pointer=use.pointer,
            call_id=use.call_id,
        )


SIGNAL: Signal = UngroundedArgument()
