"""Lineage: finds the origin of each value that a model put into a tool call or an answer.

Three verdicts: *grounded* (with the place), *ungrounded* (an identifier that nothing visible contains: the model made it up),
*unknown* (any other value that is not found). Pure: the same spans give the same verdicts. See `docs/explanation/lineage.md`.
"""

from llmtrace.reading.lineage import Lineage
from llmtrace.reading.moments import moments
from llmtrace.reading.propagation import Edge, LineageResult, Propagation, Reached, analyze
from llmtrace.reading.provenance import REVIEWED, DoubtfulValue, Match, Origin, Provenance, ValueUse

__all__ = [
    "REVIEWED",
    "DoubtfulValue",
    "Edge",
    "Lineage",
    "LineageResult",
    "Match",
    "Origin",
    "Propagation",
    "Provenance",
    "Reached",
    "ValueUse",
    "analyze",
    "moments",
]
