"""``why --judge MODEL``: the options, the question, and what is shown of the answer beside the evidence."""

from __future__ import annotations

import argparse
import math
import os
import sys
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from llmtrace.cli import words
from llmtrace.cli.options import BadInput
from llmtrace.cli.paint import Screen
from llmtrace.diagnosis import Diagnosis
from llmtrace.diagnosis.flow import Flow
from llmtrace.errors import JudgeFailed
from llmtrace.judge import Endpoint, Judged, Opinion, judge
from llmtrace.judge.endpoint import OPENAI

_SECONDS = 60.0


class Heard(NamedTuple):
    diagnosis: Diagnosis
    """With the judge's verdict in it, where there is one."""
    judged: Judged | None = None
    model: str = ""
    error: str = ""

    @property
    def notes(self) -> list[str]:
        """For each suspect what the judge says of it; empty where it said nothing."""
        opinions = self.judged.opinions if self.judged is not None else ()
        return [_note(self.model, opinion) if opinion is not None else "" for opinion in opinions]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--judge", metavar="MODEL", help="ask this model about the top suspects: SENDS their content to it")
    parser.add_argument("--judge-url", metavar="URL", help=f"where it is served (default: OPENAI_BASE_URL, or {OPENAI})")
    parser.add_argument(
        "--judge-timeout", metavar="S", type=_seconds, default=_SECONDS, help=f"seconds to wait for it (default: {_SECONDS:g})"
    )


def endpoint(args: argparse.Namespace) -> Endpoint | None:
    """None where no judge is asked for. Raises BadInput."""
    if args.judge is None:
        if args.judge_url is not None:
            raise BadInput("--judge-url says where, but not which model to ask.\nAdd --judge MODEL.")
        return None
    if not args.judge.strip():
        raise BadInput("--judge names no model.\nGive its name, as its server knows it; nothing was sent.")
    if args.all:
        raise BadInput("--judge looks at one run, not at many.\nLeave out --all, and name the trace.")
    url = args.judge_url or os.environ.get("OPENAI_BASE_URL") or OPENAI
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise BadInput(
            "the judge's URL is none.\nExpected http://HOST:PORT/v1 or https://HOST/v1, by --judge-url or OPENAI_BASE_URL."
        )
    return Endpoint(args.judge, url, os.environ.get("OPENAI_API_KEY") or None, args.judge_timeout)


def hear(diagnosis: Diagnosis, flow: Flow, to: Endpoint | None) -> Heard:
    """The diagnosis, with the judge's verdict if one is asked for and comes."""
    if to is None:
        return Heard(diagnosis)
    if diagnosis.suspects and sys.stderr is not None and sys.stderr.isatty():
        Screen(sys.stderr).prose(f"asking {to.model} for a second opinion, {to.seconds:g} s at most …", "dim")
    try:
        judged = judge(diagnosis, flow, to)
    except JudgeFailed as error:
        return Heard(diagnosis, None, to.model, f"{to.model}: {error}")
    return Heard(judged.diagnosis, judged, to.model)


def as_json(heard: Heard) -> Any:
    """The diagnosis, and under ``judge`` what the model said: ``opinions`` stand in the order of ``suspects``."""
    told: Any = words.as_json(heard.diagnosis)
    if heard.judged is not None:
        judged: Any = words.as_json(heard.judged)
        return {**told, "judge": {name: said for name, said in judged.items() if name != "diagnosis"}}
    if heard.error:
        return {**told, "judge": {"model": heard.model, "error": heard.error}}
    return told


def _note(model: str, opinion: Opinion) -> str:
    both = f"{_percent(opinion.judge)}, the evidence {_percent(opinion.evidence)}"
    return f'Judge {model} says {both}: "{opinion.reason.strip()}"'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(text: str) -> float:
    """An argparse type: a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (math.isfinite(number) and 0 < number <= 3600):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, up to 3600, got {text!r}")
    return number
