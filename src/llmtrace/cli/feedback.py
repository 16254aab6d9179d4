"""``llmtrace feedback``: rate a finished trace, from a terminal or a script.

A score below 0.5, or a label such as ``bad`` or ``wrong``, is a warning. In code: `llmtrace.feedback`.
"""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import format_text
from llmtrace.cli.options import FINE, BadInput, print_json, share
from llmtrace.cli.show import title_of
from llmtrace.cli.stores import opened
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.recorder.feedback import evaluation_of
from llmtrace.store.late_evaluations import Unfinished, attach

NAME = "feedback"
HELP = "say whether the result of a finished trace was good"
EXAMPLE = 'llmtrace feedback last --score 0 --comment "wrong order"'


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--span", metavar="ID", help="about this span (default: the trace's root)")
    parser.add_argument("--score", metavar="N", type=share, help="from 0 (bad) to 1 (good)")
    parser.add_argument("--label", metavar="WORD", help="a word of your own, such as bad or wrong")
    parser.add_argument("--comment", metavar="TEXT", help="a comment, stored as content")
    parser.add_argument("--user", metavar="NAME", help="who gives the feedback")
    parser.add_argument("--source", choices=["human", "program"], default="human", help="default: human")


def run(args: argparse.Namespace) -> int:
    evaluation = evaluation_of(score=args.score, label=args.label, comment=args.comment, user=args.user, source=args.source)
    if evaluation is None:
        raise BadInput("the feedback is empty.\nGive --score, --label or --comment.")
    content = Content(Config.read(store=args.store))
    try:
        with opened(args) as store:
            span = attach(store, args.trace, (evaluation,), span_id=args.span, clean=content.clean)
    except Unfinished as error:
        raise BadInput(f"{error}.\nTry again when the run is over.") from error
    except KeyError as error:
        raise BadInput(f"trace {args.trace} has no span {args.span}.\nSee llmtrace show {args.trace} --json.") from error
    updated = span.evaluations[-1]
    if args.json:
        print_json({"trace_id": span.trace_id, "span_id": span.span_id, "evaluation": format_text.as_json(updated)})
    else:
        screen = Screen(sys.stdout)
        screen.prose(f"{format_text.evaluation(updated)}")
        screen.prose(f"on {title_of(span)} of trace {span.trace_id}", "dim")
    return FINE
