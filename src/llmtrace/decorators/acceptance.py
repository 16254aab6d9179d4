"""``agent(check=…)``: checks whether an answer is acceptable.

Law: the check sees the program's own output after the agent has returned, and its verdict and errors never reach the program.
"""

from __future__ import annotations

from typing import Any

from llmtrace.guards.check import Judge, add_evaluation
from llmtrace.model import ACCEPTANCE, OUTCOME, Evaluation, replace
from llmtrace.recorder import Recording
from llmtrace.recorder.guard import guard


def accept(recording: Recording, judge: Judge, output: Any) -> None:
    """Judge the output of an agent whose span is about to end. For a run's outermost agent, the verdict is also the run's
    outcome, unless the program reported one."""
    if isinstance(output, list) and output and all(isinstance(item, str) for item in output):
        output = "".join(output)  # the chunks of a generator
    evaluation = guard(judge, output)
    if evaluation is None:
        return
    outcome = recording.run.outcome
    if evaluation.label == "fail" and outcome is not None and outcome.label == "success":
        evaluation = replace(evaluation, explanation=f"{evaluation.explanation}, though the program reported success")
    add_evaluation(recording, evaluation)
    if recording.outermost and outcome is None and evaluation.label in ("pass", "fail"):
        failed = evaluation.label == "fail"
        recording.run.outcome = Evaluation(
            OUTCOME,
            "error" if failed else "info",
            f"the acceptance check {'failed' if failed else 'passed'}",
            label="failure" if failed else "success",
            source=ACCEPTANCE,
        )
