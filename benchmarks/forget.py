"""How long does it take to forget traces?

    python benchmarks/forget.py [--traces 10000] [--json]

A store holds so many traces, each of ten spans: an agent that asks a model five times and runs four tools. One of them, or all,
are of the user who is forgotten. Each row is ``llmtrace forget --user`` as a program of its own, over a store whose index is up
to date: seconds of wall clock, and peak memory. ``ls after that`` builds the index again.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
import scale
from llmtrace.model import replace
from llmtrace.semconv import USER_ID
from llmtrace.store.local import LocalStore


def write(folder: Path, traces: int, mine: int) -> None:
    store = LocalStore(folder, background=False)
    for number in range(traces):
        user = "mine" if number < mine else "other"
        spans = scale.trace(number, is_ours=True)
        store.append_all([replace(span, attributes={**span.attributes, USER_ID: user}) for span in spans])
    store.close()


def main() -> None:
    arguments = report.parser(__doc__)
    arguments.add_argument("--traces", type=int, default=10_000, help="traces in the store")
    args = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as home:
        for mine in (1, args.traces):
            whole = Path(home) / f"store{mine}"
            write(whole, args.traces, mine)
            scale.measured(["ls", "--user", "mine", "--store", str(whole)])  # summaries are made when first needed
            for options in ([], ["--keep-verdicts"]):
                folder = Path(shutil.copytree(whole, Path(home) / "copy"))
                row = scale.measured(["forget", "--user", "mine", "--yes", *options, "--store", str(folder)])
                then = scale.measured(["ls", "--store", str(folder)])["wall"]
                rows.append({"forgotten": mine, "kept": "verdicts" if options else "nothing", **row, "then": then})
                report.progress(f"{rows[-1]}")
                shutil.rmtree(folder)
    head = ("forgotten", "what stays", "forget", "memory", "ls after that")
    body = [
        (
            f"{row['forgotten']:,} of {args.traces:,}",
            row["kept"],
            f"{row['wall']:.1f} s",
            f"{row['memory']:.0f} MB",
            f"{row['then']:.1f} s",
        )
        for row in rows
    ]
    report.done({"rows": rows}, [report.table("Forgetting", head, body)], args.json)


if __name__ == "__main__":
    main()
