"""Agent runs with their diagnosis."""

from __future__ import annotations

from typing import Any

from tests.agent_run import ROOT, TRACE_ID, AgentRun, tool

from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.evaluation import evaluate_trace

__all__ = ["ROOT", "TRACE_ID", "Story", "tool"]


class Story(AgentRun):
    def diagnosis(self, **root: Any) -> Diagnosis:
        """The diagnosis of the run as its reader sees it: evaluated, then diagnosed."""
        evaluated, _ = evaluate_trace(self.trace(**root))
        return diagnose(evaluated)
