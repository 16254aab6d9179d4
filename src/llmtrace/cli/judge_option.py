"""``why --judge MODEL``: the options, the request to the judge, and how its answer is shown beside the evidence."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, NamedTuple

from llmtrace.chat_endpoint import OPENAI
from llmtrace.cli import format_text
from llmtrace.cli.options import BadInput, is_http, number_type
from llmtrace.cli.terminal import Screen
from llmtrace.diagnosis import Diagnosis, Reading
from llmtrace.errors import JudgeFailed
from llmtrace.judge import Endpoint, Judged, judge

_SECONDS = 60.0
_seconds = number_type(float, lambda value: 0 < value <= 3600, "seconds above 0, up to 3600")


class Reply(NamedTuple):
    """The judge's opinions, or the error that it failed with; empty without --judge."""

    model: str = ""
    judged: Judged | None = None
    error: str = ""

    @property
    def notes(self) -> dict[tuple[str, str], str]:
        """The judge's notes on suspects and places, by span id and title."""
        opinions = self.judged.opinions if self.judged is not None else ()
        return {
            (opinion.span_id, opinion.title): (
                f'Judge {self.model} says {format_text.probability(opinion.probability)}: "{opinion.reason.strip()}"'
            )
            for opinion in opinions
        }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--judge",
        metavar="MODEL",
        help="ask this model about the first suspects; with --prove, to correct them: SENDS content to it",
    )
    parser.add_argument("--judge-url", metavar="URL", help=f"where it is served (default: OPENAI_BASE_URL, or {OPENAI})")
    parser.add_argument(
        "--judge-timeout", metavar="S", type=_seconds, default=_SECONDS, help=f"seconds to wait for it (default: {_SECONDS:g})"
    )


def endpoint(args: argparse.Namespace) -> Endpoint | None:
    """Return the judge's endpoint; None without --judge. Raises BadInput."""
    if args.judge is None:
        if args.judge_url is not None:
            raise BadInput("--judge-url needs --judge MODEL.\nAdd it, or leave out --judge-url.")
        return None
    if not args.judge.strip():
        raise BadInput("--judge: expected the name of a model, got ''.\nGive the name that its server lists.")
    url = args.judge_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
    if not is_http(url):
        raise BadInput(
            "the judge's URL is not an http:// or https:// URL.\n"
            "Set --judge-url or OPENAI_BASE_URL to a URL such as http://HOST:PORT/v1 or https://HOST/v1."
        )
    return Endpoint(args.judge, url, os.environ.get("OPENAI_API_KEY") or None, args.judge_timeout)


def ask(diagnosis: Diagnosis, reading: Reading, to: Endpoint | None) -> Reply:
    """Ask the judge. Returns its opinions, or the error that it failed with."""
    if to is None:
        return Reply()
    if (diagnosis.suspects or diagnosis.places) and sys.stderr is not None and sys.stderr.isatty():
        Screen(sys.stderr).prose(f"asking {to.model} for a second opinion, {to.seconds:g} s at most …", "dim")
    try:
        return Reply(to.model, judge(diagnosis, reading.whole, to))
    except JudgeFailed as error:
        return Reply(to.model, error=f"{to.model}: {error}")


def as_json(diagnosis: Diagnosis, reply: Reply) -> Any:
    """Return the diagnosis as JSON, with the judge's answer under ``judge``."""
    content = format_text.diagnosis_as_json(diagnosis)
    if reply.judged is not None:
        return {**content, "judge": format_text.as_json(reply.judged)}
    return {**content, "judge": {"model": reply.model, "error": reply.error}} if reply.error else content
