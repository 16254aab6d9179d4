"""`review`: the program asks a person a question, and waits for the answer."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Generic, Literal, TypeVar

from llmtrace.content import to_json
from llmtrace.errors import ConfigurationError, ReviewDenied
from llmtrace.guards.check import check_schema
from llmtrace.guards.durations import read_seconds
from llmtrace.guards.hold import Hold, denial
from llmtrace.model import JsonValue, replace
from llmtrace.model.reviews import Decision

T = TypeVar("T")


class Answer(Generic[T]):
    """A question for a person. It is asked by ``await``, or by `wait`; use one of them, once."""

    def __init__(self, hold: Hold, model: Any, on_timeout: str) -> None:
        self._hold, self._model, self._on_timeout = hold, model, on_timeout

    def __bool__(self) -> bool:  # else `if review("Delete all?"):` would be true without asking anybody
        raise TypeError("llmtrace.review(...) has not been asked yet: await it, or call .wait(), and look at its is_allowed")

    def wait(self) -> Decision:
        """Wait on this thread. In an event loop, ``await`` instead."""
        return self._typed(self._hold.wait())

    def __await__(self) -> Generator[Any, None, Decision]:
        return self._typed((yield from self._hold.wait_async().__await__()))

    def _typed(self, decision: Decision) -> Decision:
        if decision.kind == "timed_out" and self._on_timeout == "raise":
            raise ReviewDenied(denial(self._hold.question, decision), decision=decision, review_id=self._hold.review_id or "")
        if decision.kind == "answered" and self._model is not None:
            try:
                return replace(decision, value=self._model.model_validate(decision.value))
            except ValueError as error:  # the model's own validators are not in the JSON Schema that the answer was checked by
                return replace(decision, kind="rejected", reason=f"the answer is no {self._model.__name__}: {error}")
        return decision


def review(
    question: str,
    payload: object = None,
    *,
    schema: Mapping[str, JsonValue] | type | None = None,
    timeout: float | str | None = None,
    on_timeout: Literal["deny", "raise"] = "deny",
) -> Answer[Any]:
    """Ask a person, and wait: ``decision = await llmtrace.review("Send this?", draft)``, or ``….wait()`` without an event loop.

    ``payload``: the content to look at; it is shown as JSON, after redaction. ``schema``: a JSON Schema or a pydantic model of
    the answer, if the person should give one; with a model, the decision's value is an instance of it. ``timeout``: seconds, or
    a text such as ``"24h"`` (``s``, ``m``, ``h`` or ``d``); default, ``configure(review_timeout=)``. ``on_timeout``: the result
    after that time: the decision ``timed_out`` (``"deny"``, default), or `ReviewDenied` (``"raise"``).

    The decision's ``kind`` is one of

    * ``approved``: yes;
    * ``edited``: yes, but run the tool call with ``value`` instead;
    * ``answered``: ``value`` is the person's answer;
    * ``rejected``: no, for the reason ``reason``;
    * ``timed_out``, ``unattended``: nobody decided, which counts as no.

    ``is_allowed`` is True for the first two. People decide in the viewer, by ``llmtrace review``, or in the function of
    ``configure(notify=)``. Raises `ConfigurationError` for a wrong option. The wait raises `ReviewPending` after the seconds of
    ``configure(review_wait=)``.
    """
    if not isinstance(question, str) or not question:
        raise ConfigurationError(f"review({question!r}): expected a question, as text")
    if on_timeout not in ("deny", "raise"):
        raise ConfigurationError(f"review(on_timeout={on_timeout!r}): expected 'deny' or 'raise'")
    model: Any = schema if isinstance(schema, type) and hasattr(schema, "model_validate") else None
    if schema is not None and model is None and not isinstance(schema, Mapping):
        raise ConfigurationError(f"review(schema={schema!r}): expected a JSON Schema or a pydantic model")
    written: Any = model.model_json_schema() if model is not None else schema
    if written is not None:
        check_schema(written, "review(schema=...)")
    seconds = None if timeout is None else read_seconds("review(timeout)", timeout)
    hold = Hold(question, to_json(payload), schema=written, timeout=seconds)
    return Answer(hold, model, on_timeout)
