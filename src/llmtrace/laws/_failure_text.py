"""Texts about failures: how a step failed, as a phrase that follows its name, and how to prevent the failure.

Error types of providers are those of docs/how_to/providers.md ("Failures"). For other failures, the type is the exception's
class.
"""

from __future__ import annotations

from llmtrace.laws.finding import message_of, quote
from llmtrace.model import BUDGET_EXCEEDED, CANCELLED, DEADLINE, INVALID_TOOL_CALL, STEP_LIMIT, TIMEOUT, Failure, failure_kind
from llmtrace.reading.calls import Call, canonical
from llmtrace.text.patterns import lazy_pattern

_INTERRUPTED = "interrupted"
"""The failure of a model call, or KeyboardInterrupt, which somebody's Ctrl-C raised."""
_RETRIES = "retries"
_USAGE = "usage_limit"
_STEPS = r"max(?:imum)?_?(?:turn|step|iter|round|call)|(?:turn|step|iteration|round|usage|call)s?_?limit"
_LIMIT_CLASS = lazy_pattern(rf"(?i){_STEPS}|graph_?recursion|too_?many_?(?:turn|step|iteration|round|call)")
"""The name of the class of an error by which a framework ends a run at its own limit."""
_RETRIES_MESSAGE = lazy_pattern(r"(?i)exceed\w*\W+(?:max\w*\W+)?(?:\w+\W+)?retr(?:y|ies)|retr(?:y|ies)\W+(?:\w+\W+)?exceed")
_WORDS = {
    BUDGET_EXCEEDED: "was stopped by a budget",
    CANCELLED: "was cancelled",
    TIMEOUT: "timed out",
    DEADLINE: "ran past its deadline",
    _INTERRUPTED: "was stopped by Ctrl-C",
    "authentication": "was refused: its key is wrong or missing",
    "bad_request": "was refused as a bad request",
    "connection": "lost its connection",
    "connection_refused": "could not connect: nothing listens at its address",
    "content_filter": "was refused by a content filter",
    "context_length": "was sent more than the model can take",
    "not_found": "was refused: there is no such model or address",
    "overloaded": "was refused: the server is overloaded",
    "permission": "was refused: it is not permitted",
    "quota": "was refused: nothing is left to spend",
    "rate_limit": "was refused: too many requests",
    "server_error": "failed at the server",
    INVALID_TOOL_CALL: "was called with invalid arguments",
    STEP_LIMIT: "was stopped at its limit of steps",
    _RETRIES: "gave up after its last retry",
    _USAGE: "was stopped at its limit of calls or tokens",
    "SystemExit": "ended the program",
    "": "failed",
}
_WAIT = "Retry with growing pauses, and send fewer requests at once."
_SET_UP = "Correct what it is called with (key, model, address, permission). A retry does not help."
_MORE_TIME = "Give it more time, or ask for less: llmtrace stats --suggest says how long its answers take."
_ADVICE = {
    CANCELLED: "Look at what cancelled it: a time-out around it, another task that failed, the program's end.",
    _INTERRUPTED: "Somebody stopped the program there. Look at what it was waiting for.",
    TIMEOUT: _MORE_TIME,
    DEADLINE: _MORE_TIME,
    INVALID_TOOL_CALL: 'Let the model correct such calls: @llmtrace.tool(on_invalid="reply"), or catch InvalidToolCall.',
    BUDGET_EXCEEDED: "Look at what was spent first: a loop, a prompt that grows, a long result. Or raise the budget.",
    _USAGE: "Look at what was spent first: a loop, a prompt that grows, a long result. Or raise the limit.",
    STEP_LIMIT: "Look at what was done in those steps: the same again, or too large a task. Or raise the limit.",
    _RETRIES: "Look at what was refused in each try: an answer or a call that breaks its schema. Or allow more retries.",
    "authentication": _SET_UP,
    "bad_request": "Look at the request: its parameters, messages and tools. A retry does not help.",
    "connection_refused": "Start what it calls, or correct the address.",
    "content_filter": "Rephrase the prompt, or tell the user that the provider filtered it. A retry does not help.",
    "context_length": "Send less: leave out or summarise earlier messages, cut long results; or use a model that takes more.",
    "not_found": _SET_UP,
    "overloaded": _WAIT,
    "permission": _SET_UP,
    "quota": "Raise the limit at the provider. A retry does not help.",
    "rate_limit": _WAIT,
    "server_error": "Retry with growing pauses. If it stays, look at the server's own log.",
}


def how_it_ended(failure: Failure) -> str:
    return _WORDS.get(_kind(failure), f"ended with {failure.type}")


def has_advice(failure: Failure) -> bool:
    """Return True if the failure is of a kind with advice of its own, whatever step it ended: Ctrl-C, a limit, a time-out."""
    return _kind(failure) in _ADVICE


def end_of(failure: Failure) -> str:
    """Return how a failure ended a run: ``limit``, ``timeout``, ``cancelled`` or ``error``."""
    kind = _kind(failure)
    if kind in (STEP_LIMIT, _RETRIES, _USAGE):
        return "limit"
    return {TIMEOUT: "timeout", DEADLINE: "timeout", CANCELLED: "cancelled", _INTERRUPTED: "cancelled"}.get(kind, "error")


def advice_for_model_call(failure: Failure) -> str:
    return _ADVICE.get(
        _kind(failure), "Look at the error. Retry only what may pass, and otherwise end the run with a clear message."
    )


def advice_for_tool(call: Call) -> str:
    """Return advice that would have prevented the failure of a tool."""
    failure = call.failure
    if not call.executed:
        return f"End the run, or ask a person, where {call.tool} is refused: the model must not report it as done."
    if failure is not None and _kind(failure) in _ADVICE:
        return _ADVICE[_kind(failure)]
    return f"Have {call.tool} say what went wrong and what to do next, and end the run where it cannot succeed."


def how_call_failed(call: Call) -> str:
    """Return a phrase that describes a failed call, with the error's message shortened."""
    failure = call.failure
    if not call.executed:
        return "was refused and did not run" if call.offered is not False else "did not run: no tool of this name was on offer"
    if call.has_result and (failure is None or failure.type == INVALID_TOOL_CALL):
        return f"answered with an error ({quote(canonical(call.result))})"
    if failure is None:
        return "gave no result"
    message = message_of(failure)
    return how_it_ended(failure) + (f" ({message})" if message else "")


def how_reviewed(call: Call) -> str:
    """Return a phrase about a repair or a person's decision between the model's call and the tool; empty if there was none."""
    if call.is_held_back:
        return f"the call was held for a review, and {call.tool} did not run"
    if call.decision == "answered" and not call.executed:
        return f"a person answered in place of {call.tool}, which did not run"
    if call.corrected is not None and call.executed:
        return f"it was corrected before {call.tool} ran"
    return f"a person approved the call of {call.tool}" if call.is_approved else ""


def _kind(failure: Failure) -> str:
    kind, name = failure_kind(failure), failure.type.rpartition(".")[2]
    if name == "KeyboardInterrupt":
        return _INTERRUPTED
    if name == "UnexpectedModelBehavior" and _RETRIES_MESSAGE.search(failure.message):
        return _RETRIES
    if _LIMIT_CLASS.search(name):
        return _USAGE if "usage" in name.lower() else STEP_LIMIT
    return kind if kind in (BUDGET_EXCEEDED, CANCELLED, TIMEOUT, DEADLINE) else failure.type
