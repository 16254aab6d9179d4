"""``--edit SPAN --set PLACE[=VALUE]`` of ``llmtrace replay``: which value of a recorded run is another one in the new run."""

from __future__ import annotations

import argparse
import json
from typing import NamedTuple

from llmtrace.cli.editor import edit_answer, edit_request
from llmtrace.cli.options import BadInput
from llmtrace.cli.recording import Recording
from llmtrace.errors import ConfigurationError
from llmtrace.model import Span, Trace
from llmtrace.playback.corrections import edit_at
from llmtrace.playback.edit import Edit, is_of_request, read_edit, request_change
from llmtrace.playback.player import CHANGE


class EditOption(NamedTuple):
    """A span and what is to be edited there."""

    trace: Trace
    span: Span
    setting: str
    """``PLACE=VALUE``, or a place alone; empty: the whole answer."""
    edit: Edit | None
    """None: of a request, which only the program can make."""

    @classmethod
    def read(cls, args: argparse.Namespace, recording: Recording, live_after: str | None) -> EditOption | None:
        """Read the options. An edit of an answer is made and tried on the recording. Raises BadInput."""
        if args.edit is None:
            if args.set is not None:
                raise BadInput("--set needs --edit SPAN, as in: --edit 4360aab6 --set look_up/order_id=KS-20457")
            return None
        trace, setting = recording.trace, args.set or ""
        span = trace.span(recording.span_id("--edit", args.edit))
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
        """Id of the span whose request is edited; None: its answer is."""
        return self.span.span_id if self.edit is None else None

    def make(self, request: str | None) -> tuple[Edit, str]:
        """The edit, and of a request what it changes, in words; else an empty text. ``request``: what the unchanged program
        sent, on which the edit is tried. Raises BadInput."""
        if self.edit is not None:
            return self.edit, ""
        option = f"--edit {self.span.span_id[:8]}: the request of {self.span.name}"
        if request is None:
            raise BadInput(f"{option} is not sent over a transport that is recorded (httpx, botocore), so it cannot be edited.")
        place, equals, _ = self.setting.partition("=")
        try:
            body = json.loads(request)
            edit = read_edit(self.span.span_id, self.setting) if equals else edit_request(self.span, place, body)
            return edit, request_change(body, edit)
        except ConfigurationError as error:
            raise BadInput(f"--set {self.setting}: in the request, {error}.") from None
        except ValueError:
            raise BadInput(f"{option} is not JSON, so it cannot be edited.") from None
