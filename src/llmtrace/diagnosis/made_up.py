"""Clues of lineage: values that the model said first and that nothing visible contained."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.aftermath import Aftermath
from llmtrace.diagnosis.clue import Clue, Kind, quote
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.symptoms import is_known_to_have_failed
from llmtrace.diagnosis.tools import has_failed
from llmtrace.diagnosis.worked_out import left_over
from llmtrace.lineage import NOUNS, Use
from llmtrace.model import Evaluation, Inference, Memory, Retrieval, Text, Trace

SIGNAL = "ungrounded_argument"

_MUCH = 1_000
"""Characters from which on what a model is sent may hold what it is to say."""
_OF_NOBODY = frozenset({"number", "date", "time"})
"""Kinds of values that belong to no one, so that no tool can say whose they are."""


def made_up(trace: Trace, flow: Flow, after: Aftermath) -> Iterator[Clue]:
    """In a call, in an answer that later calls took them from, or in the final answer."""
    called = {use.key for node in flow.nodes if node.kind == "call" for use in node.uses}
    for node in flow.nodes:
        said_first = [use for use in node.uses if use.made_up]
        if node.kind == "call":
            yield from (_argument(node, use, after) for use in said_first)
        elif said_first:
            yield from (_word(node, use) for use in said_first if use.key in called)
            claims = left_over(said_first, node, flow) if _is_to_be_found(node, trace, flow) else []
            if claims:
                yield _claim(node, claims)
    yield from _found_live(trace, flow)


def _found_live(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """What the quality signal found while all content was there; of the stored content some may be cut."""
    for span in trace.spans:
        for found in span.evaluations:
            node = flow.node_of(span, found.call_id) if found.name == SIGNAL else None
            if node is not None and not any(use.made_up and use.pointer == found.pointer for use in node.uses):
                yield _stored(node, found)


def _stored(node: Node, found: Evaluation) -> Clue:
    use = next((use for use in node.uses if use.pointer == found.pointer), None)
    title = f"{node.tool} was called with a made-up {found.pointer}"
    evidence = f"Found when it was said: {found.explanation}."
    kind: Kind = "from_example" if found.label == "from_example" else "made_up"
    value = found.evidence.get("value")
    return Clue(kind, node.span_id, title, evidence, _advice(node, use), "info", node, use, found.pointer, value)


def _argument(node: Node, use: Use, after: Aftermath) -> Clue:
    noun = NOUNS[use.kind].partition(" ")[2]
    example = use.provenance.form == "from_example"
    if example:
        title = f"{node.tool} was called with the example from its own definition as {use.pointer}"
        evidence = f"The {noun} {quote(use.value)} stands in the definition of {node.tool} and in no message or result before."
    else:
        title = f"{node.tool} was called with a made-up {use.pointer}"
        evidence = f"The {noun} {quote(use.value)} is in no message and no result that came before this call."
    if node.has_result and not has_failed(node):
        evidence = f"{evidence[:-1]}; {node.tool} answered all the same."
    kind: Kind = "from_example" if example else "made_up"
    clue = Clue(kind, node.span_id, title, evidence, _advice(node, use), "info", node, use, use.pointer, use.value)
    clue.recovered = has_failed(node) and after.done(node) and not after.relied_on(use, node)
    return clue


def _word(node: Node, use: Use) -> Clue:
    noun = NOUNS[use.kind].partition(" ")[2]
    title = f"{node.agent or 'the model'} made up {NOUNS[use.kind]} in an answer, and a tool was called with it"
    evidence = f"The {noun} {quote(use.value)} is in no message and no result that came before this answer."
    advice = "Have the model call tools with what users and results gave it, not with its own words."
    return Clue("made_up", node.span_id, title, evidence, advice, "info", node, use, None, use.value)


def _is_to_be_found(node: Node, trace: Trace, flow: Flow) -> bool:
    """Whether an answer's values are to be looked for. A model that is asked a short question, and is offered nothing to look
    anything up with, is asked for what it knows, or to write: a recipe, code."""
    if any(one.kind == "call" for one in flow.nodes) or len({one.agent for one in flow.nodes}) > 1:
        return True
    if is_known_to_have_failed(trace):
        return True
    for span in trace.spans:
        operation = span.operation
        if isinstance(operation, (Retrieval, Memory)) or (isinstance(operation, Inference) and operation.tools):
            return True
    asked = trace.span(node.span_id).operation
    given = asked.input if isinstance(asked, Inference) else ()
    return sum(len(part.content) for message in given for part in message.parts if isinstance(part, Text)) >= _MUCH


def _claim(node: Node, claims: list[Use]) -> Clue:
    values = ", ".join(quote(use.value) for use in claims[:3])
    more = f" and {len(claims) - 3} more" if len(claims) > 3 else ""
    evidence = f"{values}{more}: in no message and no result before the answer."
    advice = "Have the answer quote results only, and check its values against them before it goes out."
    what = "a value" if len(claims) == 1 else f"{len(claims)} values"
    title = f"the answer states {what} that nothing before it contains"
    return Clue("claim", node.span_id, title, evidence, advice, "info", node, None, None, claims[0].value)


def _advice(node: Node, use: Use | None) -> str:
    if use is not None and use.kind in _OF_NOBODY:
        return f"Have the model ask for what it was not given, and the user confirm {use.pointer} before {node.tool} runs."
    return f"Have the model ask for what it was not given, and let {node.tool} check that the value belongs to whom it serves."
