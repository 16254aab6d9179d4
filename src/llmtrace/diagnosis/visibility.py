"""Determines which parts of a trace were recorded, and therefore which checks could run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmtrace.codec.writers import unread_writers, writers_of
from llmtrace.diagnosis.checks import Need
from llmtrace.diagnosis.flow import CallNode, Flow
from llmtrace.model import FetchResponse, Inference, Span, ToolExecution, ToolResult, Trace
from llmtrace.reading import ValueUse
from llmtrace.reading.answer_endings import ending_of
from llmtrace.reading.call_log import Call
from llmtrace.semconv import CONTENT_LEVEL


def visible_needs(flow: Flow) -> frozenset[Need]:
    """Return the data that the checks can see in this trace."""
    inferences = [span.operation for span in flow.inferences if isinstance(span.operation, Inference)]
    calls = [node.call for node in flow.calls]
    needs: set[Need] = set()
    if inferences:
        needs.add("inferences")
    if any(inference.output for inference in inferences):
        needs.add("content")
    if calls or needs >= {"content"}:
        needs.add("calls")
    # a run without calls lacks no results and no schemas
    if not calls or any(call.is_complete and call.failed is not None for call in calls):
        needs.add("results")
    if not calls or any(call.definition is not None and call.definition.parameters is not None for call in calls):
        needs.add("schemas")
    if "content" in needs and not flow.lineage.hidden:
        needs.add("lineage")
    # with neither answers nor calls, the checks of results and schemas have nothing to look at
    return frozenset(needs & {"inferences"} if not needs & {"content", "calls"} else needs)


def can_be_judged(trace: Trace) -> bool:
    """Return True if an answer or a call was recorded, so that a run without findings was really checked. Cheaper than a
    diagnosis."""
    operations = [span.operation for span in trace.spans]
    return any(
        isinstance(operation, ToolExecution) or (isinstance(operation, (Inference, FetchResponse)) and operation.output)
        for operation in operations
    )


def unchecked(flow: Flow) -> tuple[str, ...]:
    """Return sentences about what could not be checked, because it was not recorded."""
    return tuple(dict.fromkeys(_sentences(flow)))


def _sentences(flow: Flow) -> Iterator[str]:
    calls = [node.call for node in flow.calls if not node.is_from_history]
    yield from _about_writers(flow.trace)
    if not flow.inferences:
        yield "No model call was recorded, so no value can be traced."
    elif not any(  # an answer, an error, or a response without an answer
        getattr(span.operation, "output", ()) or span.failure is not None or ending_of(span) == "missing"
        for span in flow.inferences
    ):
        yield (
            "The models' answers were not recorded, so neither calls nor answers were checked."
            + _content_settings(flow.inferences)
        )
    elif any(span.run_id is None for span in flow.inferences) and not any(map(_has_finish_reason, flow.inferences)):
        yield "No finish reason was recorded, so an answer that was cut by a limit does not show."
    for reason, span_id in flow.lineage.hidden.items():
        yield f"Values that were not found were not judged: {reason} (span {span_id})."
    without_schema = sorted({call.tool for call in calls if call.definition is None or call.definition.parameters is None})
    if without_schema:
        settings = _schema_settings([*flow.inferences, *_tool_spans(flow)])
        yield f"Arguments were not checked against a schema, since none was recorded: {_some(without_schema)}.{settings}"
    yield from _about_arguments(flow, calls)
    if not calls and flow.inferences and _has_results(flow.inferences[0]):
        yield (
            "Earlier steps of this conversation are not in this trace, so the arguments of their calls were not checked: "
            "put them under one @agent, or use llmtrace run."
        )
    numbers = sorted({f"{node.tool} {use.pointer}" for node in flow.calls for use in node.uses if _is_unjudged(node, use)})
    if numbers:
        yield f"Numbers that stand nowhere were not judged, since they may be computed: {_some(numbers, 3)}."
    is_over = flow.trace.health != "running"
    unknown = sorted({call.tool for call in calls if call.failed is None and not call.is_held_back and is_over})
    if unknown:
        yield f"No result was recorded, so failures do not show: {_some(unknown)}.{_content_settings(_tool_spans(flow))}"
    silent = next((span.span_id for span in flow.trace.spans if _is_left_out(span)), None)
    if silent is not None:
        yield f"What tools answered was left out, so an error in an answer does not show (span {silent})."


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (" …" if len(names) > most else "")


def _about_writers(trace: Trace) -> Iterator[str]:
    for unread in unread_writers(trace):
        names = f" Attributes that look like content: {', '.join(unread.attributes)}." if unread.attributes else ""
        yield f"Spans of {unread.name} are not read: their format is not known to llmtrace.{names}"
    for writer in writers_of(trace.spans):
        if writer.damage:
            yield f"{writer.name} is known to change what it records: {writer.damage}."


def _about_arguments(flow: Flow, calls: Iterable[Call]) -> Iterator[str]:
    unwritten = sorted({call.tool for call in calls if call.arguments is None and call.definition is not None})
    if unwritten and all(span.run_id is None for span in flow.inferences):
        settings = _content_settings(flow.inferences)
        yield f"Arguments were not checked, since none were recorded: {_some(unwritten)}.{settings}"


def _tool_spans(flow: Flow) -> list[Span]:
    return [span for span in flow.trace.spans if isinstance(span.operation, ToolExecution)]


def _content_settings(spans: Iterable[Span]) -> str:
    """Return a sentence for each writer on how to record content with it. Each begins with a space."""
    return "".join([f" To record content with {writer.name}: {writer.content}." for writer in writers_of(spans)])


def _schema_settings(spans: Iterable[Span]) -> str:
    return "".join(
        [
            f" To record schemas with {writer.name}: {writer.schemas}."
            if writer.schemas
            else f" {writer.name} does not record the schemas of tools."
            for writer in writers_of(spans)
        ]
    )


def _has_finish_reason(span: Span) -> bool:
    operation = span.operation
    reasons = operation.finish_reasons if isinstance(operation, Inference) else ()
    return bool(reasons) or any(message.finish_reason for message in getattr(operation, "output", ()))


def _has_results(request: Span) -> bool:
    messages = request.operation.input if isinstance(request.operation, Inference) else ()
    return any(isinstance(part, ToolResult) for message in messages for part in message.parts)


def _is_unjudged(node: CallNode, use: ValueUse) -> bool:
    """Return True for a number as a whole argument of a change, if its origin is unknown."""
    return (
        node.call.is_change
        and use.part == "argument"
        and use.whole
        and use.kind == "number"
        and use.provenance.status == "unknown"
    )


def _is_left_out(span: Span) -> bool:
    execution = span.operation
    ran = isinstance(execution, ToolExecution) and execution.executed and not execution.has_result
    return ran and span.failure is None and span.attributes.get(CONTENT_LEVEL) == "none"
