"""Which arguments of a tool call a person should look at before the tool runs: `ungrounded` and `untrusted`.

Both judge one call by what its run has shown so far. They name no tool and no domain, accept arguments of any form, and only
read the evidence: asked again, or of a stored trace, they give the same answer. Hold the run's lock while you ask.
"""

from __future__ import annotations

from llmtrace.evidence.run_evidence import RunEvidence
from llmtrace.lineage import DoubtfulValue
from llmtrace.model import ToolCall, ToolDefinition
from llmtrace.text.tool_names import is_reading_name


def ungrounded(evidence: RunEvidence, call: ToolCall) -> tuple[DoubtfulValue, ...]:
    """The identifiers and e-mail addresses, as whole arguments, that nothing visible contains: the model made them up.

    Empty if some context of the run is not visible. ``call``: with the arguments that the tool would be given.
    """
    return evidence.lineage.ungrounded_in(call)


def untrusted(evidence: RunEvidence, call: ToolCall, definition: ToolDefinition | None = None) -> tuple[DoubtfulValue, ...]:
    """The values that stand only in the free text of what tools returned: this is how an injected instruction takes hold.

    Values are e-mail and web addresses, identifiers, files, and numbers of seven digits or more, as whole arguments or within
    longer ones. A value is trusted if the user, the program or a definition says it, if it is a field of a structured result,
    or if the user said a word of it and also named the place where it was found. Of a tool that only reads, only the hosts of
    web addresses count: a request tells the host something, whatever it is for.

    ``definition``: of the tool, to know whether it reads; by default the one that the model was offered, else its name decides.
    """
    definition = definition or next((tool for tool in evidence.calls.tools if tool.name == call.name), None)
    changes = definition.changes if definition is not None else None
    return evidence.lineage.untrusted_in(call, reads=is_reading_name(call.name) if changes is None else not changes)
