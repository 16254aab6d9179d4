"""The contribution of each span of a trace to statistics: its groups, times, tokens and errors.

Laws: tokens and dollars come from model calls only. Each call counts once, even if two instrumentations recorded it (see
`uncharged_spans`). An unknown value is None, never 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from llmtrace.model import (
    AgentInvocation,
    Embedding,
    Inference,
    Span,
    ToolExecution,
    Trace,
    Usage,
    Workflow,
    replace,
    uncharged_spans,
)
from llmtrace.model.value import value
from llmtrace.semconv import ENGINE_FIRST_TOKEN, ENGINE_PER_TOKEN, EXECUTE_TOOL, USER_ID, VALIDATED_ATTEMPTS, VALIDATED_PASSED
from llmtrace.store.dead_letters import correction_chains


@value
class Place:
    """The agent, step and user around a span."""

    agent: str | None = None
    """Name of the nearest agent; for an agent's span, its own name."""
    step: str | None = None
    """Name of the nearest enclosing span that is not an inference; None if that span is an agent or workflow."""
    user: str | None = None
    """Id of the user that the span runs for, from the span itself or the nearest enclosing span."""


@value
class Step:
    """A span with the values that statistics count."""

    span: Span
    agent: str | None
    step: str
    """The span's role in the agent. For a model call: the name of the span around it (a node, a function), else its operation.
    For a tool: ``execute_tool`` and the tool's name. Otherwise the span's name."""
    model: str | None
    """The model that answered; if it is not known, the requested model."""
    prompt: str | None
    """Fingerprint of the system prompt."""
    user: str | None
    """Id of the user that the span ran for."""
    first_token: float | None
    """Seconds until the first chunk; for an agent or workflow, until the earliest first chunk of the model calls below it. For
    an answer that was not streamed, seconds until its first token, if the inference engine reports them."""
    per_token: float | None
    """Seconds for each output token: the engine's own figure if it reports one. Otherwise measured after the first chunk, or
    over the whole duration of an answer that was not streamed."""
    usage: Usage | None
    cost_usd: float | None
    tool_calls: int
    """Number of tool calls that the model requested in this span; 1 for a tool's execution."""
    invalid: int
    """Number of tool calls that break their schema."""
    corrections: int
    """Number of faults in this model call that the model was asked to correct."""
    corrected: int
    """Number of these faults that the model corrected."""


def steps_of(trace: Trace) -> Iterator[Step]:
    """Yield each ended span of a trace, parents before children, without calls that count elsewhere (`uncharged_spans`)."""
    places = _places(trace)
    hidden = uncharged_spans(trace)
    first = _first_tokens(trace)
    corrections = corrections_of(trace)
    for _, span in trace.walk():
        if span.end is not None and span.span_id not in hidden:
            yield _step(span, places[span.span_id], first.get(span.span_id), corrections)


def _places(trace: Trace) -> dict[str, Place]:
    places: dict[str, Place] = {}
    for _, span in trace.walk():
        parent = trace.parent(span)
        above = Place() if parent is None else places[parent.span_id]
        # a model call inside a model call keeps the outer one's step
        if parent is not None and not isinstance(parent.operation, Inference):
            above = replace(above, step=None if isinstance(parent.operation, (AgentInvocation, Workflow)) else parent.step)
        operation = span.operation
        agent = operation.name if isinstance(operation, AgentInvocation) else above.agent
        user = span.attributes.get(USER_ID)
        places[span.span_id] = Place(agent, above.step, user if isinstance(user, str) and user else above.user)
    return places


def _first_tokens(trace: Trace) -> dict[str, float]:
    """Return the seconds until the first chunk by span id, for each inference and for every agent and workflow around one."""
    seconds_by_span: dict[str, float] = {}
    for _, span in trace.walk():
        if not isinstance(span.operation, Inference):
            continue
        if span.operation.time_to_first_chunk is None:
            engine_seconds = span.attributes.get(ENGINE_FIRST_TOKEN)
            if isinstance(engine_seconds, float):  # the answer was not streamed, so no agent above saw its first token
                seconds_by_span[span.span_id] = engine_seconds
            continue
        seconds_by_span[span.span_id] = waited = span.operation.time_to_first_chunk
        arrival = span.start + round(waited * 1e9)
        for above in trace.ancestors(span):
            if isinstance(above.operation, (AgentInvocation, Workflow)):
                seconds = max(0, arrival - above.start) / 1e9
                seconds_by_span[above.span_id] = min(seconds, seconds_by_span.get(above.span_id, seconds))
    return seconds_by_span


def _step(span: Span, place: Place, first_token: float | None, corrections: Corrections) -> Step:
    operation = span.operation
    tool_calls, invalid = _tool_calls(span)
    model = prompt = usage = cost = None
    name = span.name
    if isinstance(operation, (Inference, Embedding)):
        model, usage = operation.model, operation.usage
        name = place.step or (operation.operation if isinstance(operation, Inference) else "embeddings")
    elif isinstance(operation, ToolExecution) and operation.name:
        name = f"{EXECUTE_TOOL} {operation.name}"  # other writers' spans have one name for all tools
    if isinstance(operation, Inference):
        cost = operation.cost_usd
        prompt = operation.fingerprint.system if operation.fingerprint is not None else None
    return Step(
        span=span,
        agent=place.agent,
        step=name,
        model=model,
        prompt=prompt,
        user=place.user,
        first_token=first_token,
        per_token=_per_token(span),
        usage=usage,
        cost_usd=cost,
        tool_calls=tool_calls,
        invalid=invalid,
        corrections=corrections.wanted[span.span_id],
        corrected=corrections.done[span.span_id],
    )


def _per_token(span: Span) -> float | None:
    operation = span.operation
    if not isinstance(operation, Inference) or operation.partial or span.duration is None or span.failure is not None:
        return None
    engine_seconds = span.attributes.get(ENGINE_PER_TOKEN)
    if isinstance(engine_seconds, float):  # better than our clock, which also measures the queue and the network
        return engine_seconds
    tokens = None if operation.usage is None else operation.usage.output_tokens
    if not tokens:
        return None
    if operation.time_to_first_chunk is None:
        return None if operation.stream else span.duration / tokens
    # the first token came with the first chunk
    return (span.duration - operation.time_to_first_chunk) / (tokens - 1) if tokens > 1 else None


def _tool_calls(span: Span) -> tuple[int, int]:
    operation = span.operation
    wrong = {(v.choice, v.call_id, v.tool) for v in span.violations if v.severity == "error" and v.where == "arguments"}
    if isinstance(operation, ToolExecution):
        return 1, min(1, len(wrong))
    if not isinstance(operation, Inference):
        return 0, 0
    # without recorded content the output has no calls, but the violations still name some
    return max(len(wrong), sum(len(message.tool_calls()) for message in operation.output)), len(wrong)


# -- corrections


class Corrections(NamedTuple):
    """Numbers of requested and of successful corrections, by the span id of the model call that made the fault."""

    wanted: Counter[str]
    done: Counter[str]


def corrections_of(trace: Trace) -> Corrections:
    wanted: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for chain in correction_chains(trace):
        call = _asking_call(trace, chain.refused[0])
        if call is not None:
            wanted[call] += 1
            done[call] += chain.is_corrected
    for span in trace.spans:
        attempts, passed = span.attributes.get(VALIDATED_ATTEMPTS), span.attributes.get(VALIDATED_PASSED)
        if isinstance(attempts, int) and (attempts > 1 or passed is False):
            call = next((inner.span_id for inner in trace.children(span) if isinstance(inner.operation, Inference)), None)
            if call is not None:
                wanted[call] += 1
                done[call] += passed is True
    return Corrections(wanted, done)


def _asking_call(trace: Trace, refused: Span) -> str | None:
    """Return the span id of the model call that requested an execution: by the tool call's id, else the last one before it."""
    tool = refused.operation
    assert isinstance(tool, ToolExecution)
    last = asking = None
    for span in trace.spans:
        if not isinstance(span.operation, Inference) or span.run_id != refused.run_id or span.start > refused.start:
            continue
        last = span.span_id
        calls = {(call.id, call.name) for message in span.operation.output for call in message.tool_calls()}
        if tool.call_id is not None and (tool.call_id, tool.name) in calls:
            asking = span.span_id  # the newest, since some servers count the calls of each answer from 0
    return asking or last
