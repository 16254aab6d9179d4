"""A change was made twice: the same tool ran with the same arguments in one turn of the user, and succeeded both times.

* Labels: `made_twice`: certain if the tool declares its changes, or if it is a loop of three and more; likely if only other
  changes by the same tool came in between, as with a shell; else possible
* Bad: `refund(W1)` succeeds twice, although the user asked once.
* Good: The user asks for a second refund. The tool has `changes=False` or `polls=True`. The first call failed.

A tool declares a change with `@tool(changes=True)` or by an MCP server's annotations; else the words of its name decide.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call, plural
from llmtrace.model import Confidence
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.repeats import Repeats, repeats_in


class DuplicatedEffect(Law[None]):
    name = "duplicated_effect"
    advice = "Give the tool an idempotency key, or have it refuse what is done already."
    needs = ("calls", "results")

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for repeats in repeats_in(run):
            done = [call for call in repeats.calls if call.failed is False]
            first = repeats.calls[0]
            if not repeats.is_effect:
                continue
            description = "which may change something"
            if first.is_declared_change:
                description = "which is declared to change something with each call"
            evidence = f"{first.tool}, {description}, went through {plural(len(done), 'time')} with the same arguments"
            # the finding is about the second change, since the first one was right
            yield of_call(
                self.name, "made_twice", _confidence(repeats), done[1], f"{first.name} was done again with the same arguments",
                f"{evidence}, within one turn.",
                f"Give {first.tool} a key against repeats (an idempotency key), or have it refuse what is done already.",
                cause_key=first.effect_key, spans=tuple(call.place for call in repeats.calls),
            )  # fmt: skip


def _confidence(repeats: Repeats) -> Confidence:
    if repeats.is_strict_loop or (repeats.calls[0].is_declared_change and repeats.rounds > 1):
        return "certain"
    return "likely" if repeats.is_loop else "possible"


SIGNAL = DuplicatedEffect()
