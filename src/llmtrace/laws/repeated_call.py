"""A call came again and again in one turn of the user and one conversation: with the same result (`same_result`), in a circle
of two to four calls (`cycle`), or failing in the same words (`same_error`).

* Labels: `same_result`, `cycle`, `same_error`: certain from three times on, or likely; else possible
* Bad: `look_up(W1)` brings the same result three times, whatever it brought before.
* Good: The result changed, or another tool changed something; the user spoke; several calls were asked for at once; agents work
  side by side; the tool is polled; a person rejected the call; a key is pressed again, or a page scrolled.

A tool is polled if it has `@tool(polls=True)`, or a word such as `status` or `wait` in its name. Only likely if other changes
in between came from the same tool, as with a shell, or if a tool that failed alike succeeded afterwards. `Budget(repeats=…)`
ends a run that repeats itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from llmtrace.laws._failure_text import how_call_failed
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call, plural
from llmtrace.model import Confidence
from llmtrace.reading.calls import Call, result_text
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.repeats import OFTEN, Repeats, repeats_in, rounds_in

_STOP = "Stop the run when a call repeats: Budget(repeats=2), or have the tool say that the answer is the same as before."


class RepeatedCall(Law[None]):
    name = "repeated_call"
    advice = "Look at what came before the first of them; Budget(repeats=) ends such a run early."
    needs = ("calls", "results")

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        if len(run.calls) < 2:
            return
        for repeats in repeats_in(run):
            if repeats.rounds > 1 and not repeats.is_effect:  # an effect that came twice is left to `duplicated_effect`
                yield self._same_call(repeats)
        for calls in rounds_in(run):
            names = ", ".join(dict.fromkeys(call.tool for call in calls))
            length = len(calls) // OFTEN
            evidence = f"The calls {names} came three times over in a row, with the same arguments and results."
            yield of_call(
                self.name, "cycle", "certain", calls[0], f"the run went in a circle of {length} calls", evidence, _STOP,
                spans=tuple(call.place for call in calls),
            )  # fmt: skip
        yield from self._same_errors(run)

    def _same_call(self, repeats: Repeats) -> Finding:
        first, times = repeats.calls[0], plural(len(repeats.calls), "time")
        confidence: Confidence = "certain" if repeats.is_strict_loop else "likely" if repeats.is_loop else "possible"
        same = "the same result" if repeats.results == 1 else "other results"
        evidence = f"{first.tool} was called {times} with the same arguments and brought {same}, within one turn"
        evidence += f", after {plural(repeats.earlier, 'earlier call')}." if repeats.earlier else "."
        title = f"{first.name} was called again and again with the same result"
        if confidence == "possible":
            title = f"{first.name} was called again with the same arguments"
        return of_call(
            self.name, "same_result", confidence, first, title, evidence, _STOP, cause_key=first.tool,
            spans=tuple(call.place for call in repeats.calls),
        )  # fmt: skip

    def _same_errors(self, run: EndedRun) -> Iterator[Finding]:
        """Find tools that failed again in the same words: the agent did not learn from the error.

        A change by any tool, or a success of this one, begins a new count.
        """
        by_tool: dict[str, dict[tuple[int, int], dict[str, list[Call]]]] = defaultdict(dict)
        for call in run.calls:
            if call.failed:
                by_error = by_tool[call.tool].setdefault((call.turn, call.conversation), defaultdict(list))
                by_error[result_text(call)].append(call)
            elif call.may_have_succeeded and by_tool:
                for tool in list(by_tool) if call.is_change else [call.tool]:  # the agent did something about it
                    for failures in by_tool.pop(tool, {}).values():
                        yield from self._same_error(run, failures, went_well=tool == call.tool)
        for failures in (failures for groups in by_tool.values() for failures in groups.values()):
            yield from self._same_error(run, failures, went_well=False)

    def _same_error(self, run: EndedRun, failures: Mapping[str, Sequence[Call]], *, went_well: bool) -> Iterator[Finding]:
        for error, calls in failures.items():
            rounds = len({run.round_of(call) for call in calls})
            if not error or rounds < 2:
                continue
            first, times = calls[0], plural(rounds, "time")
            confidence: Confidence = "certain" if rounds >= OFTEN else "possible"
            if went_well and confidence == "certain":  # the same call may have met a fault that passed
                confidence = "likely" if len({call.key for call in calls}) > 1 else "possible"
            yield of_call(
                self.name, "same_error", confidence, first, f"{first.name} failed again and again in the same way",
                f"{first.tool} failed in the same words {times}: it {how_call_failed(first)}.",
                f"Stop after the same error twice: have {first.tool} say what a right call looks like, or end the run.",
                cause_key=(first.tool, error), spans=tuple(call.place for call in calls),
            )  # fmt: skip


SIGNAL = RepeatedCall()
