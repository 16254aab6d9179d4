"""Determines which parts of a trace were recorded, and therefore which laws could judge it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from llmtrace.codec.writers import unread_writers, writers_of
from llmtrace.laws.base import Need
from llmtrace.laws.finding import plural
from llmtrace.model import FetchResponse, Inference, Span, ToolExecution, ToolResult, Trace, double_counted_spans
from llmtrace.model.traces import short_id
from llmtrace.reading.answer_endings import ending_of
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.provenance import ValueUse
from llmtrace.semconv import CONTENT_LEVEL, HEALTH

_OPEN = frozenset({"pending", "unknown"})
"""Statuses of a receipt that say nothing about the change."""


def visible_needs(run: EndedRun) -> frozenset[Need]:
    """Return the data of a run that laws can see: see `Law.needs`."""
    inferences = [span.operation for span in run.spans if span.end is not None and isinstance(span.operation, Inference)]
    needs: set[Need] = set()
    if inferences:
        needs.add("inferences")
    if any(inference.output for inference in inferences):
        needs.add("content")
    if run.calls or needs >= {"content"}:
        needs.add("calls")
    # a run without calls lacks no results and no schemas
    if not run.calls or any(call.is_complete for call in run.calls):
        needs.add("results")
    if not run.calls or any(call.definition is not None and call.definition.parameters is not None for call in run.calls):
        needs.add("schemas")
    if "content" in needs and not run.timeline.lineage.hidden:
        needs.add("lineage")
    if is_evaluated(run):
        needs.add("facts")
    if any(call.receipt is not None and call.receipt.status not in _OPEN for call in run.calls):
        needs.add("receipts")
    # with neither answers nor calls, the laws about results and schemas have nothing to look at
    return frozenset(needs & {"inferences", "facts"} if not needs & {"content", "calls"} else needs)


def is_evaluated(run: EndedRun) -> bool:
    """Return False for a run of another writer whose steps nobody evaluated, as in a backend that it was sent to."""
    outermost = run.outermost
    return outermost is None or outermost.run_id is not None or outermost.end is None or HEALTH in outermost.attributes


def can_be_judged(trace: Trace) -> bool:
    """Return True if an answer or a call was recorded, so that a run without findings was really checked. Cheaper than a
    diagnosis."""
    operations = [span.operation for span in trace.spans]
    return any(
        isinstance(operation, ToolExecution) or (isinstance(operation, (Inference, FetchResponse)) and operation.output)
        for operation in operations
    )


def unchecked(trace: Trace, runs: Sequence[EndedRun], errors: Mapping[str, str]) -> tuple[str, ...]:
    """Return sentences about what was not checked: it was not recorded, or the law failed. ``errors``: as in `Judgement`."""
    sentences = [f"What {name} looks for was not checked, since it failed with {error}." for name, error in errors.items()]
    if any((run.model_calls or run.calls) and not is_evaluated(run) for run in runs):
        sentences.append(
            "Neither schemas nor the form of answers were checked, since these spans were not evaluated: "
            f"llmtrace check {short_id(trace.trace_id)} does so."
        )
    sentences += [*_about_writers(trace), *_about_model_calls(trace), *chain(*map(_about_run, runs))]
    return tuple(dict.fromkeys(sentences))


STREAM_USAGE = 'stream_options={"include_usage": True}'
"""What a request in OpenAI's form asks for the usage of a stream with."""


def _about_model_calls(trace: Trace) -> Iterator[str]:
    elsewhere = double_counted_spans(trace)
    model_calls = [
        span
        for span in trace.spans
        if isinstance(span.operation, (Inference, FetchResponse)) and span.end is not None and span.span_id not in elsewhere
    ]
    if not model_calls:
        yield "No model call was recorded, so no value can be traced."
    elif not any(  # an answer, an error, or a response without an answer
        getattr(span.operation, "output", ()) or span.failure is not None or ending_of(span) == "no_choice"
        for span in model_calls
    ):
        yield (
            "The models' answers were not recorded, so neither calls nor answers were checked." + _content_settings(model_calls)
        )
    elif any(span.run_id is None for span in model_calls) and not any(map(_has_finish_reason, model_calls)):
        yield "No finish reason was recorded, so an answer that was cut by a limit does not show."
    unmetered = sum(map(_is_unmetered_stream, model_calls))
    if unmetered:
        yield (
            f"{plural(unmetered, 'stream')} came without usage, so tokens and cost are unknown. Many servers send it only when "
            f"asked: {STREAM_USAGE}."
        )


def _about_run(run: EndedRun) -> Iterator[str]:
    calls = [call for call in run.calls if not call.is_from_history]
    inferences = [span for span in run.spans if isinstance(span.operation, Inference)]
    executions = [span for span in run.spans if isinstance(span.operation, ToolExecution)]
    for reason, span_id in run.timeline.lineage.hidden.items():
        yield f"Values that were not found were not judged: {reason} (span {span_id})."
    without_schema = sorted({call.tool for call in calls if call.definition is None or call.definition.parameters is None})
    if without_schema:
        settings = _schema_settings([*inferences, *executions])
        yield f"Arguments were not checked against a schema, since none was recorded: {_listed(without_schema)}.{settings}"
    for call in calls:
        if call.receipt is not None and call.receipt.status in _OPEN:
            yield f"Whether {call.tool} took effect is not known: {call.receipt.why} (span {call.place})."
    unwritten = sorted({call.tool for call in calls if call.arguments is None and call.definition is not None})
    if unwritten and all(span.run_id is None for span in inferences):
        settings = _content_settings(inferences)
        yield f"Arguments were not checked, since none were recorded: {_listed(unwritten)}.{settings}"
    if not calls and inferences and _has_results(inferences[0]):
        yield (
            "Earlier steps of this conversation are not in this trace, so the arguments of their calls were not checked: "
            "put them under one @agent, or use llmtrace run."
        )
    numbers = {
        f"{call.tool} {use.pointer}" for call in run.calls if call.is_change for use in run.uses(call) if _is_unjudged(use)
    }
    if numbers:
        yield f"Numbers that stand nowhere were not judged, since they may be computed: {_listed(sorted(numbers), 3)}."
    unknown = [call for call in calls if call.failed is None and not call.is_held_back and not run.is_running]
    if unknown:
        tools, count = _listed(sorted({call.tool for call in unknown})), plural(len(unknown), "call")
        yield f"No result of {count} was recorded, so a failure does not show: {tools}.{_content_settings(executions)}"
    silent = next((span.span_id for span in executions if _is_left_out(span)), None)
    if silent is not None:
        yield f"What tools answered was left out, so an error in an answer does not show (span {silent})."


def _listed(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "")


def _about_writers(trace: Trace) -> Iterator[str]:
    for unread in unread_writers(trace):
        names = f" Attributes that look like content: {', '.join(unread.attributes)}." if unread.attributes else ""
        yield f"Spans of {unread.name} are not read: their format is not known to llmtrace.{names}"
    for writer in writers_of(trace.spans):
        if writer.damage:
            yield f"{writer.name} is known to change what it records: {writer.damage}."


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


def _is_unmetered_stream(span: Span) -> bool:
    """Return True for a whole stream without usage, recorded by llmtrace itself: others may have left it out."""
    inference = span.operation
    if not isinstance(inference, Inference) or span.run_id is None:
        return False
    return inference.stream and inference.usage is None and not inference.partial and span.failure is None


def _has_results(request: Span) -> bool:
    messages = request.operation.input if isinstance(request.operation, Inference) else ()
    return any(isinstance(part, ToolResult) for message in messages for part in message.parts)


def _is_unjudged(use: ValueUse) -> bool:
    """Return True for a number as a whole argument, if its origin is unknown."""
    return use.part == "argument" and use.whole and use.kind == "number" and use.provenance.status == "unknown"


def _is_left_out(span: Span) -> bool:
    execution = span.operation
    ran = isinstance(execution, ToolExecution) and execution.executed and not execution.has_result
    return ran and span.failure is None and span.attributes.get(CONTENT_LEVEL) == "none"
