"""Reconciles spans of several writers: counts each model call once.

Laws: each call has one inference, and only spans of other writers (``run_id`` None) change. These spans become plain steps:

* the wrapper of an inference, such as a framework's span around a client's: an inference with another below it and only plain
  spans between, unless their content contradicts it
* the span of another writer beside the inference, if it began while the inference was open
* an inference of kind ``server`` below another: the engine's side of the same call

A plain step keeps its content as attributes and names the span that counts in `semconv.SAME_CALL`. The result depends neither
on the order of arrival nor on the resolution of clocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import genai, messages
from llmtrace.codec.best_fields import fill_in
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Inference,
    Message,
    Scope,
    Span,
    Text,
    ToolExecution,
    Trace,
    replace,
)

_RECORD_TYPE = "logfire.span_type"
"""``log`` on a log record that Logfire sends in the form of a span."""
_MAX_BELOW = 100
"""Maximum number of inferences below a wrapper that are compared with it."""
_MAX_EARLIER = 64
"""Number of earlier calls that are compared with a call, so that long runs do not take quadratic time."""


def reconcile(trace: Trace) -> Trace:
    """Return the trace with one inference for each model call."""
    changes: dict[str, Span] = {}
    trace = _without_copies(trace)
    external = [span for span in trace.spans if span.run_id is None]
    if any(isinstance(span.operation, Inference) for span in external):
        changes |= _split_growing_prompts(sorted(external, key=_began))
        _join_stream_records(external, changes)
        _join_siblings(external, changes)
        _count_once(trace, changes)
    if any(isinstance(span.operation, AgentInvocation) and sc.TOOL_DEFINITIONS in span.attributes for span in external):
        _add_agent_tools(trace, changes)
    _add_failures(trace, external, changes)
    if not changes:
        return trace
    return Trace([changes.get(span.span_id, span) for span in trace.spans], alive=trace.alive)


def _without_copies(trace: Trace) -> Trace:
    """Keep the last copy of each span that has ended, or the last copy if none has."""
    spans: dict[str, Span] = {}
    for span in trace.spans:
        earlier = spans.get(span.span_id)
        if earlier is None or span.end is not None or earlier.end is None:
            spans[span.span_id] = span
    return trace if len(spans) == len(trace.spans) else Trace(list(spans.values()), alive=trace.alive)


# -- one inference a call


def _count_once(trace: Trace, changes: dict[str, Span]) -> None:
    below: dict[str, list[Span]] = {}
    """For each span, the inferences below it with only plain spans between. For an inference, itself."""
    for _, stored in reversed(list(trace.walk())):  # children before their parents
        span = changes.get(stored.span_id, stored)
        inner = [inference for child in trace.children(span) for inference in below.pop(child.span_id, ())][:_MAX_BELOW]
        if not isinstance(span.operation, Inference):
            below[span.span_id] = inner if isinstance(span.operation, Custom) else []
            continue
        below[span.span_id] = [span]
        for inference in inner:
            if inference.run_id is None and (
                inference.kind == "server" or (span.run_id is not None and _may_be_same_call([inference], span))
            ):
                changes[inference.span_id] = _as_plain_step(inference, span)
        clients = [
            inference for inference in inner if inference.span_id not in changes or not _is_plain(changes[inference.span_id])
        ]
        if span.run_id is None and clients and _may_be_same_call(clients, span):
            changes[span.span_id] = _as_plain_step(span, clients[-1])
            if len(clients) == 1 and clients[0].run_id is None:
                clients = [_filled(clients[0], span)]  # only the wrapper may have the offered tools, or content
                changes[clients[0].span_id] = clients[0]
            below[span.span_id] = clients


def _is_plain(span: Span) -> bool:
    return isinstance(span.operation, Custom)


def _as_plain_step(span: Span, counted: Span) -> Span:
    attributes = genai.attributes(replace(span, failure=None, violations=(), evaluations=()))
    del attributes[sc.OPERATION_NAME]
    return replace(span, operation=Custom(), attributes={**attributes, sc.SAME_CALL: counted.span_id})


def _filled(span: Span, other: Span) -> Span:
    """Return the span with fields and the failure that only another span of the same call has."""
    failure = span.failure
    if other.failure is not None and (failure is None or not failure.message):
        failure = other.failure
    return replace(span, operation=fill_in(span.operation, other.operation), failure=failure)


def _may_be_same_call(inner: list[Span], outer: Span) -> bool:
    """Return True if no recorded fact contradicts that the outer inference describes these calls.

    A tool may call a model while another call is open. Then the answers differ in id, length and text.
    """
    wrapper = outer.operation
    calls = [span.operation for span in inner if isinstance(span.operation, Inference)]
    assert isinstance(wrapper, Inference)
    comparisons = (_same_ids(calls, wrapper), _same_tokens(calls, wrapper), _same_answers(calls, wrapper))
    return any(comparisons) or all(result is None for result in comparisons)


def _same_ids(calls: list[Inference], wrapper: Inference) -> bool | None:
    """Return True, or None as "unknown": different ids prove nothing, since frameworks invent their own."""
    return True if wrapper.response_id and any(call.response_id == wrapper.response_id for call in calls) else None


def _same_tokens(calls: list[Inference], wrapper: Inference) -> bool | None:
    counts = [call.usage.output_tokens for call in calls if call.usage is not None and call.usage.output_tokens is not None]
    total = wrapper.usage.output_tokens if wrapper.usage is not None else None
    if total is None or len(counts) != len(calls):
        return None
    return total == sum(counts) or total in counts


def _same_answers(calls: list[Inference], wrapper: Inference) -> bool | None:
    answer, answers = answer_texts(wrapper.output), [answer_texts(call.output) for call in calls]
    if not answer or not any(answers):
        return None
    return answer in answers


def answer_texts(messages: tuple[Message, ...]) -> list[str]:
    """Return the texts and the tool calls of an answer, to compare answers of different writers."""
    texts = [message.text().strip() for message in messages]
    return [text for text in texts if text] + [
        f"{call.name}({call.arguments})" for message in messages for call in message.tool_calls()
    ]


# -- streamed calls with separate records of request and answer


def _join_stream_records(external: Sequence[Span], changes: dict[str, Span]) -> None:
    """Add the answer in the record of a stream to its call: the latest call before it with the same request."""
    ordered = sorted(external, key=_began)
    calls = [span for span in ordered if isinstance(span.operation, Inference) and not span.operation.output]
    for record in ordered:
        answer = record.operation
        if record.attributes.get(_RECORD_TYPE) != "log" or not isinstance(answer, Inference):
            continue
        call = next((call for call in reversed(calls) if _awaits_record(call, record, answer)), None)
        if call is not None:
            calls.remove(call)
            joined = fill_in(changes.get(call.span_id, call).operation, answer)
            changes[call.span_id] = replace(call, end=max(call.end or 0, record.end or 0), operation=joined)
            changes[record.span_id] = _as_plain_step(record, call)


def _awaits_record(call: Span, record: Span, answer: Inference) -> bool:
    if call.span_id == record.span_id or call.start > record.start or call.scope.name != record.scope.name:
        return False
    same_place = call.parent_id == record.parent_id or call.span_id == record.parent_id
    return same_place and isinstance(call.operation, Inference) and call.operation.input == answer.input


def _join_siblings(external: Sequence[Span], changes: dict[str, Span]) -> None:
    """Count a call once that two writers recorded side by side, as an SDK and its instrumentation do for streams.

    The second span began while the first was open, has the same parent, and no recorded fact contradicts it.
    """
    places: dict[str, list[Span]] = {}
    for span in sorted([changes.get(span.span_id, span) for span in external], key=_began):
        if span.parent_id is not None and span.kind != "server" and isinstance(span.operation, Inference):
            places.setdefault(span.parent_id, []).append(span)
    for calls in places.values():
        while len({call.scope.name for call in calls}) > 1:
            first = calls.pop(0)
            second = next((call for call in calls if _is_beside(first, call)), None)
            if second is not None:
                calls.remove(second)
                _join_pair(first, second, changes)


def _is_beside(first: Span, second: Span) -> bool:
    if first.scope.name == second.scope.name or (first.end is not None and second.start > first.end):
        return False
    assert isinstance(first.operation, Inference)
    assert isinstance(second.operation, Inference)
    return first.operation.request_model == second.operation.request_model and _may_be_same_call([second], first)


def _join_pair(first: Span, second: Span, changes: dict[str, Span]) -> None:
    """Count the span with the answer, and add what only the other span has."""
    has_answer = isinstance(second.operation, Inference) and bool(second.operation.output)
    counted, other = (second, first) if has_answer else (first, second)
    changes[counted.span_id] = _filled(counted, other)
    changes[other.span_id] = _as_plain_step(other, counted)


# -- prompts that grow


class _Prompt(NamedTuple):
    text: str
    scope: Scope
    inference: Inference
    messages: tuple[Message, ...]
    """What the text was split into."""


def _split_growing_prompts(spans: Iterable[Span]) -> dict[str, Span]:
    """Split prompts that a writer records as one text. Returns changed spans by id. ``spans``: sorted by start.

    Some writers join the texts of all messages. The text of a call then begins with the text of an earlier call. The rest is
    new: the answer and the user's next message, or the results of tools if the answer called tools. Only the user's own words
    become a message of the user; otherwise every call would seem to start a new task.
    """
    prompts: list[_Prompt] = []
    changes: dict[str, Span] = {}
    for span in spans:
        inference = span.operation
        if not isinstance(inference, Inference) or (text := _only_text(inference)) is None:
            continue
        messages = inference.input
        beginnings = [
            prompt for prompt in prompts[-_MAX_EARLIER:] if text.startswith(prompt.text + "\n") and prompt.scope == span.scope
        ]
        if beginnings:
            earlier = max(beginnings, key=lambda prompt: len(prompt.text))
            new_messages = _split_rest(text[len(earlier.text) + 1 :], earlier.inference)
            if new_messages:
                messages = (*earlier.messages, *new_messages)
                changes[span.span_id] = replace(span, operation=replace(inference, input=messages))
        prompts.append(_Prompt(text, span.scope, inference, messages))
    return changes


def _only_text(inference: Inference) -> str | None:
    """Return the text of a request with a single message of the user, else None."""
    if len(inference.input) != 1 or inference.input[0].role != "user" or len(inference.input[0].parts) != 1:
        return None
    part = inference.input[0].parts[0]
    return part.content if isinstance(part, Text) and part.content else None


def _split_rest(text: str, earlier: Inference) -> tuple[Message, ...]:
    """Return the messages after those of an earlier call; none if the text does not continue with its answer."""
    if earlier.calls_tools:
        return (Message("tool", (Text(text),)),)
    answer = "\n".join([message.text() for message in earlier.output]).strip()
    if not answer or not text.startswith(answer):
        return ()
    question = text[len(answer) :].strip()
    answer_message = Message("assistant", (Text(answer),))
    return (answer_message, Message("user", (Text(question),))) if question else (answer_message,)


# -- tool definitions on the agent's span


def _add_agent_tools(trace: Trace, changes: dict[str, Span]) -> None:
    """Copy tool definitions from the span of the innermost agent to each of its inferences."""
    for span in trace.spans:
        current = changes.get(span.span_id, span)
        if span.run_id is None and isinstance(current.operation, Inference) and not current.operation.tools:
            agent = next((above for above in trace.ancestors(span) if isinstance(above.operation, AgentInvocation)), None)
            tools = None if agent is None else messages.read_definitions(agent.attributes.get(sc.TOOL_DEFINITIONS))
            if tools:
                changes[span.span_id] = replace(current, operation=replace(current.operation, tools=tools))


# -- failures of tool executions


def _add_failures(trace: Trace, external: Sequence[Span], changes: dict[str, Span]) -> None:
    """Mark an execution as failed if a plain step below it failed that has the same call id: the step is a part of it."""
    for step in external:
        call_id = step.attributes.get(sc.TOOL_CALL_ID)
        if step.failure is None or call_id is None or not _is_plain(step):
            continue
        above = trace.parent(step)
        if above is not None and above.run_id is None and above.failure is None:
            operation = above.operation
            if isinstance(operation, ToolExecution) and operation.call_id == call_id:
                changes[above.span_id] = replace(changes.get(above.span_id, above), failure=step.failure)


def _began(span: Span) -> tuple[int, int, str]:
    return span.start, span.start if span.end is None else span.end, span.span_id
