"""What the page folds: the tree of steps alone, in Node, without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from llmtrace.viewer.page import STATIC

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node runs the page's own script")

PROGRAM = """
const { Tree } = await import(process.argv[1]);
const { rows, steps } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const tree = new Tree();
tree.merge(rows);
const wording = ({ fold, row }) => (fold ? `${fold.names} ${fold.repeats} ${fold.distinct}` : row.id);
const lines = () => tree.lines().map((line) => "  ".repeat(line.depth) + wording(line));
console.log(JSON.stringify(steps.map((step) => { new Function("tree", step)(tree); return lines(); })));
"""


def lines(rows: list[dict[str, Any]], *steps: str) -> list[list[str]]:
    """The lines after each of these statements: names, occurrences and different arguments of a fold, or a step's id."""
    command = ["node", "--input-type=commonjs", "-e", f"(async () => {{{PROGRAM}}})()", (STATIC / "tree.js").as_uri()]
    data = json.dumps({"rows": rows, "steps": ["", *steps]})
    told: list[list[str]] = json.loads(subprocess.run(command, input=data, capture_output=True, text=True, check=True).stdout)
    return told


def loop(rounds: int, *, odd: int = -1, nodes: bool = True) -> list[dict[str, Any]]:
    """A graph that asks for a call, and runs it, again and again; ``odd``: the round with other arguments."""
    rows: list[dict[str, Any]] = [{"id": "root", "kind": "agent", "name": "a", "start": 0}]
    for number in range(rounds):
        same, start = "b" if number == odd else "a", 10 * number
        parents = (f"n{number}", f"k{number}") if nodes else ("root", "root")
        if nodes:
            rows += [
                {"id": parents[0], "parent": "root", "kind": "step", "name": "think", "start": start},
                {"id": parents[1], "parent": "root", "kind": "step", "name": "act", "start": start + 2},
            ]
        model = {"id": f"m{number}", "parent": parents[0], "kind": "model", "name": "m", "asks": ["look_up"], "same": same}
        tool = {"id": f"t{number}", "parent": parents[1], "kind": "tool", "name": "look_up", "same": same}
        rows += [{**model, "start": start + 1}, {**tool, "start": start + 3}]
    return [{**row, "end": row["start"] + 1, "state": "ok"} for row in rows]


@pytest.mark.parametrize("nodes", [False, True])
def test_equal_rounds_are_one_line(nodes: bool) -> None:
    """Also where each step of a round is inside a span of its own, as graphs write them."""
    (shown,) = lines(loop(600, odd=300, nodes=nodes))
    assert shown == ["root", "  look_up 600 2"]


def test_different_steps_inside_of_equal_ones_are_no_repetition() -> None:
    """Nodes of one name that do different things."""
    rows = [row for row in loop(8) if row["id"] not in ("t2", "t5")]
    (shown,) = lines(rows)
    assert not any(line.startswith("  look_up") for line in shown)


def test_a_suspect_stands_below_its_fold() -> None:
    """Whatever is chosen, also after the fold was opened and closed."""
    pin = "tree.pin([tree.rows.get('t300')])"
    _, pinned, chosen, opened, closed = lines(
        loop(600, odd=300), pin, "tree.reveal('m10')", "tree.open.set('fold n0', true)", "tree.open.set('fold n0', false)"
    )
    below = ["    k300", "      t300"]
    assert pinned == ["root", "  look_up 600 2", *below]
    assert chosen == closed == ["root", "  look_up 600 2", "    n10", "      m10", *below]
    assert len(opened) == 2 + 4 * 600
