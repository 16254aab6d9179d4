"""``llmtrace freeze``: write what shaped a run as a lock file, which ``llmtrace verify`` compares with later.

One fact a line, digests of prompts and tools in place of their content. Called where the run was recorded, the file also lists
all installed packages.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timezone

from llmtrace.cli.options import FINE, BadInput, json_text
from llmtrace.cli.output_file import writing
from llmtrace.cli.stores import opened
from llmtrace.diagnosis.environment import Fact, environment_of, facts_as_json, without_task
from llmtrace.installed import all_versions
from llmtrace.recorder.resource import packages_digest
from llmtrace.version import __version__

NAME = "freeze"
HELP = "write a lock file of what shaped a run: models, prompts, libraries …"
EXAMPLE = "llmtrace freeze last -o run.lock.json"

FORM = 1
"""Version of the lock file's format."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="where to; - is stdout (default: -)")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = store.trace(args.trace)
    environment = without_task(environment_of(trace))
    if not environment.facts:
        raise BadInput(f"trace {trace.trace_id} records nothing that can change: no model call and no program.")
    packages = all_versions()
    is_same = environment.facts.get(Fact("installed packages")) == (packages_digest(packages),)
    members = {
        "llmtrace_lock": FORM,
        "written_by": f"llmtrace-otel {__version__}",
        "trace_id": trace.trace_id,
        "recorded": datetime.fromtimestamp(trace.spans[0].start / 1e9, timezone.utc).isoformat(timespec="seconds"),
    }
    facts = ",\n  ".join(json_text(fact) for fact in facts_as_json(environment))
    packaged = json_text(packages if is_same else None)
    text = f'{json_text(members, indent=1)[:-2]},\n "facts": [\n  {facts}\n ],\n "packages": {packaged}\n}}\n'
    with writing(args.output) as file:
        file.write(text.encode())
    return FINE
