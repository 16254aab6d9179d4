"""``--edit SPAN --set PLACE[=VALUE]`` of ``llmtrace replay``: changes a value of a recorded run for the new run.

Without ``=VALUE`` the recorded value is opened in the user's editor (``VISUAL``, else ``EDITOR``). The saved text is the new
value.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from llmtrace.cli.options import BadInput
from llmtrace.cli.recording import Recording
from llmtrace.cli.stores import find_span
from llmtrace.errors import ConfigurationError
from llmtrace.model import JsonValue, Span, Trace
from llmtrace.playback.corrections import edit_at
from llmtrace.playback.edit import Edit, answer_of, edit_to, edited, is_of_request, member_at, read_edit, request_change
from llmtrace.playback.player import CHANGE
from llmtrace.validation.json_pointers import steps


class EditOption(NamedTuple):
    """The span to edit, and the edit."""

    trace: Trace
    span: Span
    setting: str
    """``PLACE=VALUE``, or only a place to open in the editor. Empty: open the whole answer."""
    edit: Edit | None
    """The edit of an answer. None for the edit of a request: it needs the request that the program sends, see `make`."""

    @classmethod
    def read(cls, args: argparse.Namespace, recording: Recording, live_after: str | None) -> EditOption | None:
        """Read the options; None without ``--edit``. An edit of an answer is made now, and tried on the recording.

        Raises BadInput.
        """
        if args.edit is None:
            if args.set is not None:
                raise BadInput("--set needs --edit SPAN, as in: --edit 4360aab6 --set look_up/order_id=KS-20457")
            return None
        trace, setting = recording.trace, args.set or ""
        span = find_span(trace, args.edit)
        name, (place, equals, _) = span.span_id[:8], setting.partition("=")
        if live_after not in (None, CHANGE) and trace.span(live_after).start < span.start:
            raise BadInput(f"--edit {name}: the recording ends before it, at {live_after[:8]}, so the edit would not be used.")
        if args.set is not None and is_of_request(span, place):
            if live_after is None:
                raise BadInput(
                    f"--set {place} changes what the model is asked, so {span.name} [{name}] is asked for real.\nAllow it: "
                    f"--live-after {name} (what comes later is for real, too), or --live-after change (only what then differs)"
                )
            return cls(trace, span, setting, None)
        try:
            edit = edit_at(trace, span.span_id, setting) if equals else edit_answer(span, place or None)
        except ConfigurationError as error:
            raise BadInput(f"{'--set ' + setting if setting else '--edit ' + name}: {error}.") from None
        return cls(trace, span, setting, edit)

    @property
    def request_of(self) -> str | None:
        """Id of the span whose request is edited; None if its answer is edited."""
        return self.span.span_id if self.edit is None else None

    def make(self, request: str | None) -> tuple[Edit, str]:
        """Return the edit, and a description of what it changes in a request; "" for the edit of an answer.

        ``request``: the request that the unchanged program sent. The edit is tried on it. Raises BadInput.
        """
        if self.edit is not None:
            return self.edit, ""
        place, equals, _ = self.setting.partition("=")
        body = request_body(self.span, request)
        edit = read_edit(self.span.span_id, self.setting) if equals else edit_request(self.span, place, body)
        return edit, request_edit(self.span, edit, request)


def request_edit(span: Span, edit: Edit, request: str | None) -> str:
    """Describe what an edit changes in the request of a model call that the unchanged program sent.

    Raises BadInput if it cannot be made there.
    """
    try:
        return request_change(request_body(span, request), edit)
    except ConfigurationError as error:
        raise BadInput(f"{edit.place or 'the whole request'} of {span.name} cannot be set: {error}.") from None


def request_body(span: Span, request: str | None) -> JsonValue:
    """Return the body of a request that the unchanged program sent. Raises BadInput if there is none, or it is not JSON."""
    which = f"the request of {span.name} [{span.span_id[:8]}]"
    if request is None:
        raise BadInput(f"{which} is not sent over a transport that is recorded (httpx, botocore), so it cannot be edited.")
    try:
        body: JsonValue = json.loads(request)
    except ValueError:
        raise BadInput(f"{which} is not JSON, so it cannot be edited.") from None
    return body


# -- the editor


_INSTEAD = "Say what to change: --set PLACE=VALUE"


def edit_answer(span: Span, place: str | None) -> Edit:
    """Open the span's answer, or the value at ``place`` in it, in the editor, and wait. The edit is tried on the span.

    Raises BadInput as `_saved` does, and `ConfigurationError` if the saved value cannot be used.
    """
    answer = answer_of(span, place)
    saved = _saved(answer)
    edit = edit_to(span, saved) if not place else Edit(span.span_id, place, saved)
    assert edit is not None
    edited(span, edit)
    return edit


def edit_request(span: Span, place: str, request: JsonValue) -> Edit:
    """Open the value at ``place`` in the request of a model call in the editor, and wait. Raises as `edit_answer` does."""
    return Edit(span.span_id, place, _saved(member_at(request, steps(place) if place.strip("/") else ())))


def _saved(answer: JsonValue) -> JsonValue:
    """Open a value in the editor, as plain text if it is a text, else as JSON, and return the saved value.

    Raises BadInput without a terminal or an editor, and if the editor failed, nothing was changed, or the text is not JSON.
    """
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
        value: JsonValue = saved if is_text else json.loads(saved)
    except ValueError as error:
        raise BadInput(f"what was saved is not JSON, so nothing was run: {error}.\nIt is kept in {name}") from None
    path.unlink(missing_ok=True)
    if json.dumps(value) == json.dumps(answer):
        raise BadInput("nothing was changed in the editor, so nothing more was run.")
    return value
