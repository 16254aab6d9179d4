"""Feedback by a person or a program about a trace that has ended, in this process or another one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from llmtrace.config import Config
from llmtrace.content import Content, to_json
from llmtrace.errors import LlmtraceError
from llmtrace.model import FEEDBACK, Evaluation, JsonValue, Severity
from llmtrace.recorder.current import configured
from llmtrace.recorder.guard import guard
from llmtrace.recorder.outcome import number
from llmtrace.store import Store, open_store
from llmtrace.store.late_evaluations import Unfinished, attach

logger = logging.getLogger("llmtrace")

Source: TypeAlias = Literal["human", "program"]

_BAD = frozenset({"bad", "negative", "wrong", "incorrect", "fail", "failure", "down", "thumbs_down", "-1", "no"})


def feedback(
    trace: Any,
    *,
    score: float | None = None,
    label: str | None = None,
    comment: str | None = None,
    user: str | None = None,
    source: Source = "human",
) -> bool:
    """Record feedback about a finished trace. Returns True if it is recorded. Never raises; a log line says why it is not.

    ``trace``: a trace's id, the beginning of it, or ``last``; or an object with a ``trace_id``, and with a ``span_id`` if the
    feedback is about one span (such as the span of ``with agent(...) as span``). ``score``: from 0 to 1, or True and False.
    ``label``: a word of your own. Bad (severity warning) are a score below 0.5 and labels such as ``bad``, ``wrong``,
    ``thumbs_down``. ``comment`` and ``user`` are content. ``source``: ``human`` or ``program``. Writing to the store takes
    milliseconds.
    """
    return guard(_feedback, trace, score, label, comment, user, source) or False


def _feedback(
    trace: Any, score: float | None, label: str | None, comment: str | None, user: str | None, source: Source
) -> bool:
    if not isinstance(label, (str, type(None))):
        logger.warning("llmtrace: feedback(label=...): expected a text, got %s; it is left out", type(label).__name__)
        label = None
    comment, user = to_json(comment), to_json(user)  # whatever they are
    evaluation = evaluation_of(score=number(score, "feedback"), label=label, comment=comment, user=user, source=source)
    trace_id, span_id = _ids(trace)
    if evaluation is None or not trace_id:
        what = "give a score, a label or a comment" if evaluation is None else f"{type(trace).__name__} has no trace id"
        logger.warning("llmtrace: feedback(): %s; nothing is recorded", what)
        return False
    try:
        with _opened() as (store, content):
            attach(store, trace_id, (evaluation,), span_id=span_id, clean=content.clean)
    except Unfinished as error:
        logger.warning("llmtrace: feedback(): %s; say it when the run is over, or call outcome() inside the run", error)
        return False
    except KeyError:
        logger.warning("llmtrace: feedback(): trace %s has no span %s; nothing is recorded", trace_id, span_id)
        return False
    except LlmtraceError as error:
        logger.warning("llmtrace: feedback(): %s; nothing is recorded", error)
        return False
    return True


def evaluation_of(
    *, score: float | None, label: str | None, comment: str | None, user: str | None, source: Source
) -> Evaluation | None:
    """Return feedback as an evaluation, or None without a score, label and comment."""
    if score is None and not label and not comment:
        return None
    bad = score is not None and score < 0.5 if label is None else str(label).strip().lower() in _BAD
    if label is None and score is not None:
        label = "bad" if bad else "good"
    who = "a person" if source == "human" else "a program"
    severity: Severity = "warning" if bad else "info"
    details: dict[str, JsonValue] = {"comment": comment, "user": user}
    evidence = {name: to_json(value) for name, value in details.items() if value}
    evidence["at"] = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    return Evaluation(
        FEEDBACK,
        severity,
        f"{who} {'found it ' + str(label) if label else 'commented'}",
        label=None if label is None else str(label),
        score=score,
        evidence=evidence,
        source=source,
    )


def _ids(trace: Any) -> tuple[str | None, str | None]:
    if isinstance(trace, str):
        return trace, None
    return _hex(getattr(trace, "trace_id", None), 32), _hex(getattr(trace, "span_id", None), 16)


def _hex(value: Any, digits: int) -> str | None:
    """Return an id as hex text: OpenTelemetry's span contexts have ids as numbers."""
    return f"{value:0{digits}x}" if isinstance(value, int) else value


@contextmanager
def _opened() -> Iterator[tuple[Store, Content]]:
    """Open the recorder's store, or the configured one if nothing is recorded in this process. Raises UnreadableStore."""
    recorder = configured()
    if recorder is not None and recorder.store is not None:
        yield recorder.store, recorder.content
        return
    config = Config.read()
    with open_store(config.store, config=config) as store:
        yield store, Content(config)
