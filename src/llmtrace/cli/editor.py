"""A recorded value in the user's editor (``VISUAL``, else ``EDITOR``): what is saved becomes an edit."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from llmtrace.cli.options import BadInput
from llmtrace.model import JsonValue, Span
from llmtrace.playback.edit import Edit, answer_of, edit_to, edited, member_at
from llmtrace.validation.json_pointers import steps

_INSTEAD = "Say what to change: --set PLACE=VALUE"


def edit_answer(span: Span, place: str | None) -> Edit:
    """Open the span's answer, or what is at ``place`` in it, and wait. The edit is tried on the span.

    Raises BadInput as `_changed` does, and `ConfigurationError` where what was saved cannot be used.
    """
    answer = answer_of(span, place)
    saved = _changed(answer)
    edit = edit_to(span, saved) if not place else Edit(span.span_id, place, saved)
    assert edit is not None
    edited(span, edit)
    return edit


def edit_request(span: Span, place: str, request: JsonValue) -> Edit:
    """Open what is at ``place`` in the request of a model call, and wait. Raises as `edit_answer` does."""
    return Edit(span.span_id, place, _changed(member_at(request, steps(place) if place.strip("/") else ())))


def _changed(value: JsonValue) -> JsonValue:
    """What is saved in place of the value, which is shown as JSON or as plain text.

    Raises BadInput: no terminal, no editor, the editor failed, nothing was changed, or it is not JSON any more.
    """
    saved = _saved(value)
    if json.dumps(saved) == json.dumps(value):
        raise BadInput("nothing was changed in the editor, so nothing more was run.")
    return saved


def _saved(answer: JsonValue) -> JsonValue:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise BadInput(f"--edit opens your editor, and neither VISUAL nor EDITOR is set.\n{_INSTEAD}")
    if sys.stdin is None or not sys.stdin.isatty():
        raise BadInput(f"--edit opens your editor, and this is not a terminal.\n{_INSTEAD}")
    is_text = isinstance(answer, str)
    text = str(answer) if is_text else json.dumps(answer, ensure_ascii=False, indent=2)
    end = "" if text.endswith("\n") else "\n"
    handle, name = tempfile.mkstemp(prefix="llmtrace-", suffix=".txt" if is_text else ".json")
    os.close(handle)
    path = Path(name)
    path.write_bytes((text + end).encode(errors="surrogatepass"))
    failed: int | str
    try:
        failed = subprocess.run([*shlex.split(editor), name], check=False).returncode  # noqa: S603 - the user's own editor
        saved = path.read_bytes().decode(errors="surrogatepass").removesuffix(end)
    except (OSError, ValueError) as error:
        failed, saved = str(error), ""
    if failed:
        path.unlink(missing_ok=True)
        raise BadInput(f"the editor {editor!r} failed ({failed}), so nothing was run.\n{_INSTEAD}")
    try:
        value = saved if is_text else json.loads(saved)
    except ValueError as error:
        raise BadInput(f"what was saved is not JSON, so nothing was run: {error}.\nIt is kept in {name}") from None
    path.unlink(missing_ok=True)
    return value
