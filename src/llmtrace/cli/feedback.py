"""``llmtrace feedback``: say of a finished trace whether it was good, from another terminal or a script."""

from __future__ import annotations

import argparse
import sys

from llmtrace.cli import words
from llmtrace.cli.options import FINE, BadInput, print_json, share
from llmtrace.cli.paint import Screen
from llmtrace.cli.show import title_of
from llmtrace.cli.stores import opened
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.recorder.feedback import evaluation_of
from llmtrace.store.late_evaluations import Unfinished, attach

NAME = "feedback"
HELP = "say of a finished trace whether it was good"
EXAMPLE = 'llmtrace feedback last --score 0 --comment "wrong order"'


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--span", metavar="ID", help="about this span (default: the trace's root)")
    parser.add_argument("--score", metavar="N", type=share, help="from 0 (bad) to 1 (good)")
    parser.add_argument("--label", metavar="WORD", help="a word of your own, such as bad or wrong")
    parser.add_argument("--comment", metavar="TEXT", help="what is to be said; it is content")
    parser.add_argument("--user", metavar="NAME", help="who says so")
    parser.add_argument("--source", choices=["human", "program"], default="human", help="default: human")


def run(args: argparse.Namespace) -> int:
    found = evaluation_of(score=args.score, label=args.label, comment=args.comment, user=args.user, source=args.source)
    if found is None:
        raise BadInput("nothing was said.\nGive --score, --label or --comment.")
    content = Content(Config.read(store=args.store))
    try:
        with opened(args) as store:
            span = attach(store, args.trace, (found,), span_id=args.span, clean=content.clean)
    except Unfinished as error:
        raise BadInput(f"{error}.\nSay it when the run is over.") from error
    except KeyError as error:
        raise BadInput(f"trace {args.trace} has no span {args.span}.\nSee llmtrace show {args.trace} --json.") from error
    kept = span.evaluations[-1]
    if args.json:
        print_json({"trace_id": span.trace_id, "span_id": span.span_id, "evaluation": words.as_json(kept)})
    else:
        screen = Screen(sys.stdout)
        screen.prose(f"{words.evaluation(kept)}")
        screen.prose(f"on {title_of(span)} of trace {span.trace_id}", "dim")
    return FINE
