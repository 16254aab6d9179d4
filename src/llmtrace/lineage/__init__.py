"""Lineage: where each value that a model put into a tool call or an answer came from.

Three answers: *grounded* (with the place), *ungrounded* (in nothing that was visible: made up), *unknown* (context that is not
visible here, or a value of which it cannot be said). `docs/lineage.md` lists the forms that are recognised. Pure: the same
spans in the same order give the same answers.
"""

from llmtrace.lineage.propagation import Edge, Propagation, Reached, Traced, traced
from llmtrace.lineage.provenance import Match, Origin, Provenance, Use
from llmtrace.lineage.tracing import Lineage
from llmtrace.lineage.values import NOUNS, SPECIFIC

__all__ = [
    "NOUNS",
    "SPECIFIC",
    "Edge",
    "Lineage",
    "Match",
    "Origin",
    "Propagation",
    "Provenance",
    "Reached",
    "Traced",
    "Use",
    "traced",
]
