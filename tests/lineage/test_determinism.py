"""The same spans give the same answers in every process: sets of strings are ordered differently in each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
from tests.lineage_story import Story
from llmtrace.diagnosis import diagnose
from llmtrace.diagnosis.clues import find_clues
from llmtrace.diagnosis.flow import Flow
story = Story("Today is 2031-05-10.").user("Refund KS-20418, 18.50, and 4.25 for a.reyes@example.com, tomorrow or on May 17")
rows = [{"id": f"R-{n}77", "price": n * 1.17} for n in range(40)]
story.calls("look_up", {"order": "KS-20431", "rows": rows}, order_id="KS-20431")
story.calls("refund", {"ok": True}, order_id="KS-20431", amount=22.75, day="2031-05-11", other=46.8, far="2031-09-09")
story.calls("list_all", [{"id": f"R-{n}7", "of": "U-39901", "name": f"Thing {n}"} for n in range(1000, 2000)], by="U-39901")
story.calls("list_all", {"id": "R-60007"}, by="U-40001").calls("refund", {"ok": True}, order_id="R-60007", who="U-39901")
story.says("Refunded 22.75 for KS-20431, R-777, ZZ-9999 on 2031-05-18.", parameters={"prompt": 1, "conversation": 2})
trace = story.trace()
print(story.uses(), story.uses(thorough=False), diagnose(trace), [clue.evidence for clue in find_clues(trace, Flow(trace))])
"""


def test_answers_do_not_depend_on_the_hash_seed() -> None:
    root = Path(__file__).resolve().parents[2]
    outputs = set()
    for seed in ("1", "2", "3"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, cwd=root, capture_output=True, check=True)
        outputs.add(ran.stdout)
    assert len(outputs) == 1
    assert b"KS-20431" in outputs.pop()
