"""Tools for tests of agents.

`capture` records a test, with repeatable ids and times. `ReplayedRun` runs the program again, answered from a recording. Both
show what the agent did by the properties of `Run`. `cases` runs a test on each file of a folder, several times. The pytest
fixtures are in `llmtrace.pytest_plugin`.
"""

from llmtrace.testing.captured import Captured, capture, counting_identity
from llmtrace.testing.cases import cases
from llmtrace.testing.replayed import ReplayedRun
from llmtrace.testing.run import Run

__all__ = ["Captured", "ReplayedRun", "Run", "capture", "cases", "counting_identity"]
