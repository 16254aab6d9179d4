"""The one table of what may run for real while a recorded run is replayed, edited, proved, tested or resumed.

Everything else is answered from the record, or refused. A report says only what this table enforced.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, TypeAlias

from llmtrace.model import ToolDefinition
from llmtrace.model.value import value
from llmtrace.reading.calls import is_change

Rest: TypeAlias = Literal["named", "reading", "all"]
"""Which tools may run where the record has ended: those that are named; also those that change nothing; or all of them, because
a run that is resumed goes on."""


@value
class Permissions:
    """What may run for real. By default, nothing."""

    tools: Sequence[str] = ()
    """Names of tools whose bodies run, although their results are recorded."""
    after: Sequence[str] = ()
    """Names of tools whose bodies may run where the record has ended, or was edited."""
    rest: Rest = "named"
    servers: Sequence[str] = ()
    """``HOST:PORT`` of servers that the program may connect to outside of a recorded call."""
    programs: Sequence[str] = ()
    """Names or paths of programs that it may start, such as ``git``. Python processes take part in the replay."""
    how_to_allow: str = "--tool {}=live"
    """What a refusal tells the user to write; ``{}`` is the name of the tool."""

    @property
    def needs_network(self) -> bool:
        """True if something may run for real that may connect to a server."""
        return self.rest != "named" or bool(self.tools or self.after or self.servers or self.programs)

    def may_run_after(self, tool: str, definition: ToolDefinition | None = None) -> bool:
        """Return True if the body of a tool may run where the record has ended, or was edited."""
        if self.rest == "all" or tool in self.tools or tool in self.after:
            return True
        return self.rest == "reading" and not is_change(tool, definition)

    def may_start(self, program: str, *, is_live: bool) -> bool:
        """Return True if the program may start another one. ``is_live``: the record has ended."""
        return (self.rest == "all" and is_live) or os.path.basename(program) in self.programs or program in self.programs
