"""How a step ended that failed, in words that stand behind its name, and what would have prevented that.

Providers' words are those of docs/openai.md ("Failures"); what is none of them goes by the exception's class.
"""

from __future__ import annotations

from llmtrace.model import BUDGET_EXCEEDED, CANCELLED, DEADLINE, TIMEOUT, Failure, ending

_INTERRUPTED = "interrupted"
_WORDS = {
    BUDGET_EXCEEDED: "was stopped by a budget",
    CANCELLED: "was cancelled",
    TIMEOUT: "timed out",
    DEADLINE: "ran past its deadline",
    _INTERRUPTED: "was stopped by Ctrl-C",
    "authentication": "was refused: its key is wrong or missing",
    "bad_request": "was refused as a bad request",
    "connection": "lost its connection",
    "connection_refused": "found nobody at its address",
    "content_filter": "was refused by a content filter",
    "context_length": "was sent more than the model can take",
    "not_found": "was refused: there is no such model or address",
    "overloaded": "was refused: the server is overloaded",
    "permission": "was refused: it is not permitted",
    "quota": "was refused: nothing is left to spend",
    "rate_limit": "was refused: too many requests",
    "server_error": "failed at the server",
}
_WAIT = "Retry with growing pauses, and send fewer requests at once."
_SET_UP = "Correct what it is called with (key, model, address, permission): a retry does not help."
_MORE_TIME = "Give it more time, or ask for less: llmtrace stats --suggest says how long its answers take."
_OF_A_CALL = {
    TIMEOUT: _MORE_TIME,
    DEADLINE: _MORE_TIME,
    "authentication": _SET_UP,
    "connection_refused": "Start what it calls, or correct the address.",
    "context_length": "Send less: leave out or sum up earlier messages, cut long results; or take a model that takes more.",
    "not_found": _SET_UP,
    "overloaded": _WAIT,
    "permission": _SET_UP,
    "quota": "Raise the limit at the provider: a retry does not help.",
    "rate_limit": _WAIT,
}
_FROM_OUTSIDE = {
    CANCELLED: "Look at what cancelled it: a time-out around it, another task that failed, the program's end.",
    _INTERRUPTED: "Somebody stopped the program there: look at what it was waiting for.",
}


def ended(failure: Failure) -> str:
    return _WORDS.get(_word(failure), f"ended with {failure.type}")


def advice_of_a_call(failure: Failure) -> str:
    """Of a model call that failed."""
    word = _word(failure)
    return (
        _OF_A_CALL.get(word)
        or _FROM_OUTSIDE.get(word)
        or "Retry what can pass, and end the run with a clear word where it cannot."
    )


def from_outside(failure: Failure) -> str | None:
    """What is to be done where a step was stopped and did not fail by itself; None of any other failure."""
    return _FROM_OUTSIDE.get(_word(failure))


def _word(failure: Failure) -> str:
    kind = ending(failure)
    if failure.type.rpartition(".")[2] == "KeyboardInterrupt":
        return _INTERRUPTED
    return kind if kind in (BUDGET_EXCEEDED, CANCELLED) else failure.type
