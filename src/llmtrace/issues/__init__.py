"""Issues: failures over many runs, with an identity and a state.

`judged_runs` reads the runs of a store with the issues that each one shows. `decisions` is the file in which people say what
became of an issue. `issues_of` joins both. What is counted always comes from the runs, what was decided from the file.
"""

from __future__ import annotations

from llmtrace.issues.decisions import Decision, DecisionFile, Decisions, decision_file, decisions_of
from llmtrace.issues.issue import Example, Issue, State, issues_of, relapses_in, state_in
from llmtrace.issues.judged_runs import Runs, judged_runs, runs_judged_so_far

__all__ = [
    "Decision",
    "DecisionFile",
    "Decisions",
    "Example",
    "Issue",
    "Runs",
    "State",
    "decision_file",
    "decisions_of",
    "issues_of",
    "judged_runs",
    "relapses_in",
    "runs_judged_so_far",
    "state_in",
]
