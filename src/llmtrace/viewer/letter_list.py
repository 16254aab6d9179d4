"""The open dead letters of a store: work that runs gave up, with the reason and the command that retries it."""

from __future__ import annotations

from itertools import islice
from typing import Any

from llmtrace.store.letter_states import Entry, LetterStates, read_entries
from llmtrace.viewer.source import Source

MOST_LETTERS = 200
"""Maximum number of listed letters; they are from the newest traces."""
LONGEST_TEXT = 300
"""Maximum number of characters of a row's text: the reason, the name, and the explanation or the arguments."""
_NO_FOLDER = "Dead letters are listed for a local store, which this store is not."


def letters(source: Source) -> dict[str, Any]:
    """Return the open letters in the form of `ReviewQueue.page`. Raises StoreError."""
    if source.store.folder is None:
        return {"reviews": [], "more": False, "problem": _NO_FOLDER}
    entries = (entry for entry in read_entries(source.store, LetterStates(source.store.folder)) if entry.is_open)
    listed = list(islice(entries, MOST_LETTERS + 1))
    problem = f"The newest {MOST_LETTERS} are listed. llmtrace dead-letters lists all." if len(listed) > MOST_LETTERS else ""
    return {"reviews": [_row(source, entry) for entry in listed[:MOST_LETTERS]], "more": False, "problem": problem}


def _row(source: Source, entry: Entry) -> dict[str, Any]:
    letter, trace_id, state = entry
    summary = source.find_summary(trace_id)
    again = " --again" if state.state == "in_doubt" else ""
    what = f"the retry failed: {state.note}" if state.state == "failed" else letter.what
    return {
        "id": letter.letter_id,
        "place": f"#/trace/{trace_id}?span={letter.letter_id}",
        "question": f"{letter.reason.replace('_', ' ')}: {letter.name}: {what}"[:LONGEST_TEXT],
        "tool": None,
        "state": state.state,
        "asked": letter.at / 1e6,
        "agent": None if summary is None else next(iter(summary.agents), summary.name),
        "task": None if summary is None else summary.task,
        "reason": f"llmtrace dead-letters retry {letter.letter_id[:8]} --with MODULE:FUNCTION{again}",
    }
