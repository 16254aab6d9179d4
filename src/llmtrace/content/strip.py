"""Removes the content of a written span: kind, times, usage and findings stay; what people, models and tools wrote goes.

`without_content` takes away what holds content. `verdicts_only` keeps only what is known to hold none, and names nobody.

It is a filter over the attributes: `semconv` knows which of them hold content. Only findings and events are read for it.

Law: no message, argument, result, definition, prompt, document, error text, offending value or evidence is left, and no name
that the model may have invented. Names that the program chose (spans, agents, models, attributes) stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from llmtrace import semconv
from llmtrace.codec import findings, genai
from llmtrace.content.values import changed, map_items
from llmtrace.model import FEEDBACK, OUTCOME, Evaluation, Event, Failure, JsonValue, RawSpan, Violation, replace
from llmtrace.model.spans import frame_of
from llmtrace.text.patterns import lazy_pattern

HIDDEN = "*"
"""Replaces a hidden name."""
FREE_NAMES = (semconv.TOOL_NAME, semconv.SKILL_NAME, semconv.SKILL_RESOURCE)
"""Attributes with a name that the model may have invented."""
_NAME = lazy_pattern(r"[A-Za-z_$][\w$./:-]{0,63}", re.ASCII)
"""Form of a declared field's or tool's name. Any other name was invented by the model, or is content used as a key."""
_REASONING_LEVEL = semconv.REQUEST_PREFIX + "reasoning.level"
_OF_OPERATIONS = frozenset(
    {
        semconv.REQUEST_PREFIX + "stop_sequences",
        semconv.TOOL_ARGUMENTS_FORM,
        semconv.TOOL_RESULT_FORM,
        semconv.REPLAY_REQUEST,
        semconv.REPLAY_EXCHANGES,
        semconv.REPLAY_RESULT_TYPE,
        semconv.REPLAY_UNUSABLE,
    }
)
"""Attributes that are content where an operation wrote them. Those of the program stay where they are escaped."""
_INDEX = lazy_pattern(r"\d{1,9}|-")
_WORD = lazy_pattern(r"[A-Za-z_]{1,16}", re.ASCII)


def without_content(raw: RawSpan) -> RawSpan:
    """Return a written span without content, with content level "none"."""
    name, attributes = raw.name, _without_content(raw.attributes)
    for key in FREE_NAMES:
        written = raw.attributes.get(key)
        if isinstance(written, str) and written and (shown := attributes[key]) != written:
            name = name.replace(written, str(shown))
    raw = replace(raw, name=name, attributes=attributes)
    return _without_findings_content(raw) if raw.events or raw.links or raw.status_message else raw


def _without_content(attributes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the attributes of a written span without content, with content level "none"."""
    harmless = {name: item for name, item in attributes.items() if not _is_stripped(name)}
    level, tool = harmless.get(_REASONING_LEVEL), harmless.get(semconv.TOOL_NAME)
    if isinstance(level, str) and not _WORD.fullmatch(level):
        del harmless[_REASONING_LEVEL]
    for key in FREE_NAMES:
        if isinstance(written := harmless.get(key), str):
            harmless[key] = shown_name(written)
    if isinstance(pointer := harmless.get(semconv.TOOL_RECEIPT_POINTER), str):
        harmless[semconv.TOOL_RECEIPT_POINTER] = strip_pointer(pointer)
    if semconv.REVIEW_QUESTION in harmless:
        is_name = harmless[semconv.REVIEW_QUESTION] == tool
        harmless[semconv.REVIEW_QUESTION] = harmless[semconv.TOOL_NAME] if is_name else HIDDEN
    harmless[semconv.CONTENT_LEVEL] = "none"
    return harmless


@lru_cache(maxsize=1024)
def _is_stripped(name: str) -> bool:
    return name in _OF_OPERATIONS or _is_content(name.removeprefix(semconv.ATTRIBUTE_PREFIX))


def _without_findings_content(raw: RawSpan) -> RawSpan:
    """Strip failure, violations, evaluations, events and links of a span whose attributes hold no content. Verdicts stay."""
    span = genai.decode(raw)
    stripped = changed(
        span,
        failure=_failure(span.failure),
        violations=map_items(span.violations, _violation),
        evaluations=map_items(span.evaluations, _evaluation),
        events=map_items(span.events, _event),
        links=map_items(span.links, lambda link: changed(link, attributes=_attributes(link.attributes))),
    )
    if stripped is span:
        return raw
    encoded = genai.encode(stripped)
    verdicts = {name: raw.attributes[name] for name in findings.derived_in(raw.attributes)}
    return replace(encoded, attributes={**encoded.attributes, **verdicts})


def verdicts_only(raw: RawSpan) -> RawSpan:
    """Return a written span with what is counted of it: kind, times, usage, verdicts, and names that the program chose.

    Users, conversations, tags, all attributes but `semconv.COUNTED`, events and links go, and so does the name of a tool that
    does not exist. Of a stack trace, file and function of the place where the error was raised stay.
    """
    whole = genai.decode(raw)
    stripped = without_content(genai.encode(whole))  # the attributes of other writers become ours, as far as they are known
    span = genai.decode(stripped)
    counted = replace(
        span,
        failure=whole.failure and Failure(whole.failure.type, stacktrace=frame_of(whole.failure)),
        violations=map_items(span.violations, _counted_violation),
        evaluations=map_items(span.evaluations, _counted_evaluation),
        events=(),
        links=(),
        resource=_counted(span.resource),
    )
    encoded = genai.encode(counted)
    verdicts = {name: stripped.attributes[name] for name in findings.derived_in(stripped.attributes)}
    attributes = _counted({**encoded.attributes, **verdicts})
    name, tool = encoded.name, attributes.get(semconv.TOOL_NAME)
    if isinstance(tool, str) and any(violation.code == "unknown_tool" for violation in span.violations):
        attributes[semconv.TOOL_NAME], name = HIDDEN, name.replace(tool, HIDDEN)
    return replace(encoded, name=name, attributes=attributes, status_message="")


def _counted(attributes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    names = (name for name in attributes if name in semconv.COUNTED or name.startswith(semconv.FINDING_PREFIX))
    return {name: attributes[name] for name in names}


def _counted_violation(violation: Violation) -> Violation:
    tool = HIDDEN if violation.code == "unknown_tool" else violation.tool
    return replace(violation, message="", expected=None, call_id=None, tool=tool)


def _counted_evaluation(evaluation: Evaluation) -> Evaluation:
    # What explains a finding is its title, which has no content. Any other explanation, and its label, may be anyone's words.
    explanation = "" if evaluation.confidence is None else evaluation.explanation
    label = None if evaluation.name == FEEDBACK or not evaluation.label else shown_name(evaluation.label)
    return replace(evaluation, explanation=explanation, label=label, call_id=None)


def shown_name(name: str) -> str:
    """Return the name of a tool or skill, or `HIDDEN` if the model may have invented it."""
    return name if _NAME.fullmatch(name) else HIDDEN


def _failure(failure: Failure | None) -> Failure | None:
    if failure is None or not (failure.message or failure.stacktrace):
        return failure
    return Failure(failure.type)


def _violation(violation: Violation) -> Violation:
    pointer = strip_pointer(violation.pointer, made_up=violation.is_invented_name)
    message = violation.message
    for segment, shown in zip(violation.pointer.split("/"), pointer.split("/"), strict=True):
        if segment != shown:
            message = _hide(message, segment.replace("~1", "/").replace("~0", "~"))
    tool = violation.tool
    if tool is not None and (violation.code == "unknown_tool" or not _NAME.fullmatch(tool)):
        tool = shown_name(tool)
        message = message if tool == violation.tool else _hide(message, violation.tool)
    if violation.got is None and (pointer, message, tool) == (violation.pointer, violation.message, violation.tool):
        return violation
    return replace(violation, got=None, pointer=pointer, message=message, tool=tool)


def _hide(message: str, name: str | None) -> str:
    """Return ``message`` with a hidden name replaced, in case it repeats it."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", HIDDEN, message) if name else message


def _evaluation(evaluation: Evaluation) -> Evaluation:
    pointer = None if evaluation.pointer is None else strip_pointer(evaluation.pointer)
    # The explanation of an outcome that the program reported is free text, and often quotes the answer.
    explanation = "" if evaluation.name == OUTCOME else evaluation.explanation
    if not evaluation.evidence and pointer == evaluation.pointer and explanation == evaluation.explanation:
        return evaluation
    return replace(evaluation, evidence={}, pointer=pointer, explanation=explanation)


def strip_pointer(pointer: str, *, made_up: bool = False) -> str:
    """Hide segments of a JSON Pointer that are not a declared name or index. ``made_up``: the model invented the last."""
    if not pointer:
        return pointer
    segments = pointer.split("/")
    shown = [part if _NAME.fullmatch(part) or _INDEX.fullmatch(part) or not part else HIDDEN for part in segments]
    if made_up:
        shown[-1] = HIDDEN
    return "/".join(shown)


def _event(event: Event) -> Event:
    if event.name.startswith("gen_ai.") and event.name != semconv.EVALUATION_EVENT:
        numbers: Mapping[str, JsonValue] = {
            name: item for name, item in event.attributes.items() if isinstance(item, (bool, int, float))
        }
        return changed(event, attributes=event.attributes if len(numbers) == len(event.attributes) else numbers)
    return changed(event, attributes=_attributes(event.attributes))


def _attributes(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if not attributes:
        return attributes
    harmless = {name: item for name, item in attributes.items() if not _is_content(name)}
    return attributes if len(harmless) == len(attributes) else harmless


def _is_content(name: str) -> bool:
    return name in semconv.CONTENT or name.startswith(semconv.FOREIGN_CONTENT)
