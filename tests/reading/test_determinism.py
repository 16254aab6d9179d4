"""The same spans give the same answers in every process: sets of strings are ordered differently in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from tests.reading.story_runs import long_run
from llmtrace.reading.graph import analyze
story = long_run().answer("RC-1 ZZ-9999", parameters={"prompt": 1, "conversation": 2})
result = analyze(story.trace())
print(result.uses, result.edges, result.lineage.hidden, story.live())
print([result.lineage.matches(use.provenance.latest, use) for use in result.uses if use.provenance.latest])
"""


def test_answers_do_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).resolve().parents[2]
    outputs = set()
    for seed in ("1", "2", "3"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, cwd=root, capture_output=True, check=True)
        outputs.add(ran.stdout)
    assert len(outputs) == 1
    assert b"ZZ-99120" in outputs.pop()
