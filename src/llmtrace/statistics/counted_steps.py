"""The contribution of each span of a trace to statistics: its groups, times, tokens and errors.

Laws: tokens and dollars come from model calls only, each counted once, also where two instrumentations saw it (see
`uncharged_spans`). What is not known is None, never 0.
"""

from __future__ import annotations

import math
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
    """Name of the nearest agent; its own on an agent's span."""
    step: str | None = None
    """Name of the nearest span around it that is not an agent, workflow or inference."""
    user: str | None = None
    """Id of the user for whom it runs: its own, else that of the nearest span around it."""


@value
class Step:
    """A span with the values that are counted."""

    span: Span
    agent: str | None
    step: str
    """Its role for the agent: the name of the span around a model call (a node, a function), else its own operation."""
    model: str | None
    """The model that answered, else the one asked for."""
    prompt: str | None
    """Fingerprint of the system prompt."""
    user: str | None
    """Id of the user for whom it ran."""
    first_token: float | None
    """Seconds until the first chunk; for an agent or workflow, of the first model call below it that streamed. Of an answer
    that was not streamed, until its first token, where the engine tells it."""
    per_token: float | None
    """Seconds for each output token after the first chunk; for all of them where the answer was not streamed. As the engine
    tells it, where it does."""
    usage: Usage | None
    cost_usd: float | None
    tool_calls: int
    """Tool calls that the model asked for here, or 1 on a tool's execution."""
    invalid: int
    """Tool calls that break their schema."""
    corrections: int
    """Faults of this model call that the model was asked to correct."""
    corrected: int
    """Violations that it corrected."""


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
        if parent is not None and not isinstance(parent.operation, Inference):
            above = replace(above, step=None if isinstance(parent.operation, (AgentInvocation, Workflow)) else parent.step)
        operation = span.operation
        agent = operation.name if isinstance(operation, AgentInvocation) else above.agent
        user = span.attributes.get(USER_ID)
        places[span.span_id] = Place(agent, above.step, user if isinstance(user, str) and user else above.user)
    return places


def _first_tokens(trace: Trace) -> dict[str, float]:
    """Seconds until the first chunk, by id: of the inference itself, and of every agent and workflow around it."""
    seconds_by_span: dict[str, float] = {}
    for _, span in trace.walk():
        if not isinstance(span.operation, Inference):
            continue
        if span.operation.time_to_first_chunk is None:
            engine_seconds = span.attributes.get(ENGINE_FIRST_TOKEN)
            if isinstance(engine_seconds, float):  # of a whole answer, in the engine: no agent saw anything of it yet
                seconds_by_span[span.span_id] = engine_seconds
            continue
        seconds_by_span[span.span_id] = waited = span.operation.time_to_first_chunk
        if not math.isfinite(waited * 1e9):  # whoever wrote it: it says nothing of the agents around
            continue
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
    if isinstance(engine_seconds, float):  # the engine knows better than a clock around it, which counts queue and network too
        return engine_seconds
    tokens = None if operation.usage is None else operation.usage.output_tokens
    if not tokens:
        return None
    if operation.time_to_first_chunk is None:
        return None if operation.stream else span.duration / tokens
    return (span.duration - operation.time_to_first_chunk) / (tokens - 1) if tokens > 1 else None


def _tool_calls(span: Span) -> tuple[int, int]:
    operation = span.operation
    wrong = {(v.choice, v.call_id, v.tool) for v in span.violations if v.severity == "error" and v.where == "arguments"}
    if isinstance(operation, ToolExecution):
        return 1, min(1, len(wrong))
    if not isinstance(operation, Inference):
        return 0, 0
    return max(len(wrong), sum(len(message.tool_calls()) for message in operation.output)), len(wrong)


# -- corrections


class Corrections(NamedTuple):
    """By id of the model call whose fault was to be corrected."""

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
    """The id of the model call that asked for an execution: by the id of the tool call, else the last one before it."""
    call_id = refused.operation.call_id if isinstance(refused.operation, ToolExecution) else None
    last = None
    for span in trace.spans:
        if not isinstance(span.operation, Inference) or span.run_id != refused.run_id or span.start > refused.start:
            continue
        last = span.span_id
        calls = (call.id for message in span.operation.output for call in message.tool_calls())
        if call_id is not None and call_id in calls:
            return span.span_id
    return last
