"""The laws of reviews: what runs is what was approved, once; everything else is a no."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies as some

from llmtrace.content.placeholders import holds_placeholder
from llmtrace.errors import ReviewConflict
from llmtrace.guards.hold import _differences, _merged
from llmtrace.model.reviews import Decision, ReviewRequest, ReviewState
from llmtrace.store import claims
from llmtrace.store import reviews as store_reviews
from llmtrace.store.claims import NAME
from llmtrace.store.reviews import Reviews

DIGEST, OTHER = "d" * 32, "e" * 32
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def request(review_id: str = "rev_1", *, digest: str = DIGEST, deadline: float = 1e12, **fields: Any) -> ReviewRequest:
    known = {"payload": {"n": 1}, "tool": "pay", "run_id": "run", "schema": SCHEMA}
    return ReviewRequest(review_id, "pay", digest, asked_at=1000.0, deadline=deadline, **{**known, **fields})


# -- one model-checked sketch: every order of what program, reviewers and clock can do, on the real table


class World:
    """A program that wants to pay once, two reviewers, a clock; and what has happened."""

    def __init__(self) -> None:
        self.reviews = Reviews(None)
        self.paid: list[int] = []
        self.yes: list[str] = []
        """Who was told that the decision counts."""
        self.running = False
        self.reviews.propose(request(deadline=2000.0))

    def state(self) -> str:
        return self.reviews.get("rev_1").state

    def approve(self, who: str, *, digest: str = DIGEST, at: float = 1500.0) -> None:
        try:
            self.reviews.decide("rev_1", Decision("approved", by=who, at=at), digest=digest)
        except ReviewConflict:
            return
        self.yes.append(who)

    def reject(self) -> None:
        try:
            self.reviews.decide("rev_1", Decision("rejected", by="r", at=1500.0), digest=DIGEST)
        except ReviewConflict:
            return
        self.yes.append("r")

    def expire(self) -> None:
        try:
            self.reviews.decide("rev_1", Decision("timed_out", at=2001.0))
        except ReviewConflict:
            return
        self.yes.append("clock")

    def start(self, ran: str = DIGEST) -> None:
        if self.reviews.start("rev_1", DIGEST, ran):
            self.running = True
            self.paid.append(1)

    def end(self) -> None:
        if self.running:
            self.reviews.finish("rev_1", "done")
        self.running = False

    def crash(self) -> None:
        """The process is killed, and another one looks at what it left."""
        self.running = False
        claims._owner[None] = f"other-{random.random()}"

    def settle(self) -> None:
        """A person says that it had happened, which is what is so."""
        if self.state() == "in_doubt":
            self.reviews.settle("rev_1", happened=bool(self.paid), by="person")


ACTIONS: dict[str, Callable[[World], None]] = {
    "approve": lambda world: world.approve("a"),
    "approve too": lambda world: world.approve("b"),
    "approve what changed": lambda world: world.approve("c", digest=OTHER),
    "approve too late": lambda world: world.approve("late", at=2000.0),
    "reject": World.reject,
    "expire": World.expire,
    "start": World.start,
    "start something else": lambda world: world.start(OTHER),
    "end": World.end,
    "crash": World.crash,
    "settle": World.settle,
}


def test_every_order_of_events_pays_once_and_only_if_approved() -> None:
    """Laws 1 to 6: no, unless approved; used once; one reviewer wins; in doubt is never run again by itself."""
    seen: dict[tuple[Any, ...], int] = {}

    def explore(path: tuple[str, ...]) -> None:
        world = World()
        for name in path:
            ACTIONS[name](world)
        record = world.reviews.get("rev_1")
        assert len(world.paid) <= 1, path
        assert len(world.yes) <= 1, path
        if world.paid:
            assert world.yes[:1] in (["a"], ["b"]), path
            assert record.state in ("started", "done", "in_doubt"), path
        key = (record.state, getattr(record.decision, "kind", None), bool(world.paid), world.running, tuple(world.yes))
        if len(path) < 8 and seen.get(key, 99) > len(path):
            seen[key] = len(path)
            for name in ACTIONS:
                explore((*path, name))

    explore(())
    assert len(seen) > 10


# -- what was shown is what runs


@given(some.json_values(), st.data())
@settings(deadline=None, max_examples=60)
def test_an_edit_keeps_what_it_does_not_touch(raw: Any, data: st.DataObject) -> None:
    """Law 7: of a redacted payload, an edit changes what the reviewer changed, and runs the rest as the program has it."""
    payload = {"hidden": raw, "seen": data.draw(some.json_values()), "changed": 1}
    shown = {**payload, "hidden": "[redacted]"}
    hidden = _differences(payload, shown)
    assert hidden == ["/hidden"] or raw == "[redacted]" or holds_placeholder(payload["seen"])
    assert _merged(payload, shown, shown) == payload
    assert _merged(payload, shown, {**shown, "changed": 2}) == {**payload, "changed": 2}


def test_an_edit_that_breaks_the_schema_is_refused_and_nothing_is_decided() -> None:
    reviews = Reviews(None)
    reviews.propose(request())
    with pytest.raises(ReviewConflict, match="/n") as refused:
        reviews.decide("rev_1", Decision("edited", {"n": "two"}, at=1.0), digest=DIGEST)
    assert (refused.value.kind, reviews.get("rev_1").state) == ("invalid", "proposed")
    with pytest.raises(ReviewConflict, match="JSON object"):
        reviews.decide("rev_1", Decision("edited", [1], at=1.0), digest=DIGEST)


def test_a_hidden_value_may_stay_as_it_is_shown() -> None:
    reviews = Reviews(None)
    reviews.propose(request(payload={"n": "[redacted]", "to": "b"}, hidden=("/n",)))
    decided = reviews.decide("rev_1", Decision("edited", {"n": "[redacted]", "to": "c"}, at=1.0), digest=DIGEST)
    assert decided.state == "approved"


def test_always_counts_for_one_tool_one_value_and_this_run() -> None:
    """Later calls are approved by it, each in a record of its own; other tools, values and runs are not."""
    reviews = Reviews(None)
    reviews.propose(request())
    for always, problem in (({"n": 2}, "does not have"), ("n", "takes the arguments, with values")):
        with pytest.raises(ReviewConflict, match=problem):
            reviews.decide("rev_1", Decision("approved", at=1.0, always=always), digest=DIGEST)  # type: ignore[arg-type]
    reviews.decide("rev_1", Decision("approved", by="ann", at=1.0, always={"n": 1}), digest=DIGEST)
    later = reviews.propose(request("rev_2"))
    assert later.state == "approved"
    assert later.decision is not None
    assert later.decision.by == "ann"
    assert "rev_1" in later.decision.reason
    for number, fields in enumerate(({"payload": {"n": 2}}, {"tool": "send"}, {"run_id": "another"})):
        assert reviews.propose(request(f"rev_o{number}", **fields)).state == "proposed"
    hidden = reviews.propose(request("rev_h", run_id="third", payload={"n": "[redacted]"}, hidden=("/n",)))
    with pytest.raises(ReviewConflict, match="visible"):
        reviews.decide(hidden.request.review_id, Decision("approved", at=1.0, always={"n": "[redacted]"}), digest=DIGEST)


def test_what_has_expired_long_ago_is_forgotten_and_what_still_waits_is_not() -> None:
    reviews = Reviews(None)
    reviews.propose(request("rev_expired", deadline=2000.0))
    reviews.propose(request("rev_waits"))
    later = ReviewRequest("rev_new", "pay", DIGEST, {"n": 1}, 1000.0 + store_reviews.KEEP_SECONDS + 2000.0, 1e12)
    reviews.propose(later)
    assert {record.request.review_id for record in reviews.list()} == {"rev_waits", "rev_new"}


def test_ten_thousand_reviews_wait(tmp_path: Path) -> None:
    reviews = Reviews(tmp_path)
    reviews.propose(request("rev_x"))
    db = sqlite3.connect(tmp_path / NAME)
    columns = "kind, state, run, owner, at, by"
    copied = f"SELECT ? || id, replace(data, 'rev_x', ? || 'rev_x'), {columns} FROM claims WHERE id = 'rev_x'"
    insert = f"INSERT INTO claims (id, data, {columns}) {copied}"
    db.executemany(insert, ((f"{n:05}", f"{n:05}") for n in range(10_000)))
    db.commit()
    db.close()
    began = time.perf_counter()
    assert reviews.count() == 10_001
    assert len(reviews.list(limit=50)) == 50
    assert reviews.decide("00777rev", Decision("rejected", at=1.0), digest=DIGEST).state == "rejected"
    assert time.perf_counter() - began < 2


# -- killed at any moment, on both sides

_PROGRAM = """
    import asyncio, concurrent.futures, json, os, signal, sys, traceback
    from pathlib import Path
    import llmtrace
    from llmtrace.decorators import held_execution  # what a child would have to import
    from llmtrace.guards import review_policy
    from llmtrace.guards.review_settings import expect
    from llmtrace.model.reviews import Decision, ReviewState
    from llmtrace.store.reviews import Reviews

    @llmtrace.tool(review=True)
    def pay(n: int, folder: str) -> str:
        with open(f"{folder}/effects", "a") as file:
            file.write("paid ")
        return "paid"

    async def pay_later(n: int, folder: str) -> str:
        await asyncio.sleep(0)
        return pay.__wrapped__(n, folder)

    pay_later = llmtrace.tool(review=True, name="pay")(pay_later)

    def answer(style, call):
        if style == "async":
            return asyncio.run(llmtrace.Tools(pay_later).arun([call]))[0]["content"]
        if style == "thread":
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                return pool.submit(llmtrace.Tools(pay).run, [call]).result()[0]["content"]
        return llmtrace.Tools(pay).run([call])[0]["content"]

    def program(folder, reviews, style):
        arguments = json.dumps({"n": 1, "folder": folder})
        call = {"id": "c1", "type": "function", "function": {"name": "pay", "arguments": arguments}}
        llmtrace.configure(store=f"{folder}/store", instrument=(), exporters=())
        for record in reviews.list(states=ReviewState.__args__):
            expect(record.request.review_id, record.request.digest)
        try:
            said = answer(style, call)
        except llmtrace.errors.ReviewPending:
            said = "in doubt"
        Path(folder, "said").write_text(said)

    def reviewer(reviews, kind):
        for record in reviews.list():
            reviews.decide(record.request.review_id, Decision(kind, by="r", at=1.0), digest=record.request.digest)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:  # each line: who, in a process of its own
        folder, who, *kind = line.split()
        child = os.fork()
        if child == 0:
            try:
                reviews = Reviews(Path(folder, "store"))
                program(folder, reviews, *kind) if who == "program" else reviewer(reviews, *kind)
            except llmtrace.errors.ReviewConflict:
                pass
            except BaseException:
                Path(folder, "broken").write_text(traceback.format_exc())
            finally:
                os._exit(0)
        print(child, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("times", [4, pytest.param(20, marks=pytest.mark.all), pytest.param(500, marks=pytest.mark.long)])
def test_nothing_unapproved_runs_and_nothing_runs_twice_whoever_is_killed(tmp_path: Path, times: int) -> None:
    """Law 6: program and reviewer are killed at random moments of each transition, and started again until it is settled."""
    chance = random.Random(times)
    file = tmp_path / "program.py"
    file.write_text(textwrap.dedent(_PROGRAM))
    command = [sys.executable, str(file)]
    outcomes: Counter[str] = Counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        for number in range(times):
            folder = tmp_path / str(number)
            (folder / "store").mkdir(parents=True)
            kind = chance.choice(["approved", "approved", "rejected"])
            outcomes[_one_history(parent, folder, kind, chance)] += 1
        parent.kill()
    assert outcomes["ran"]
    assert times < 20 or outcomes["did not run"]


def wait_for_death(process: int) -> None:
    with suppress(ProcessLookupError):
        for _ in range(1000):
            os.kill(process, 0)
            time.sleep(0.005)


def _one_history(parent: subprocess.Popen[str], folder: Path, kind: str, chance: random.Random) -> str:
    requests, answers = parent.stdin, parent.stdout
    assert requests is not None
    assert answers is not None

    def start(who: str) -> int:
        requests.write(f"{folder} {who}\n")
        requests.flush()
        return int(answers.readline())

    style = chance.choice(["plain", "async", "thread"])
    for _ in range(chance.randint(1, 4)):
        program = start(f"program {style}")
        time.sleep(chance.random() * 0.05)
        reviewer = start(f"reviewer {kind}")
        time.sleep(chance.random() * 0.05)
        for victim in chance.sample([program, reviewer], 2):  # the program is started again when it is dead
            if victim is program or chance.random() < 0.5:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        wait_for_death(program)
    start(f"program {style}")
    deadline = time.monotonic() + 30
    while not (folder / "said").exists() and not (folder / "broken").exists() and time.monotonic() < deadline:
        start(f"reviewer {kind}")
        time.sleep(0.02)
    assert not (folder / "broken").exists(), (folder / "broken").read_text()
    effects = (folder / "effects").read_text().split() if (folder / "effects").exists() else []
    records = Reviews(folder / "store").list(states=get_args(ReviewState))
    assert len(effects) <= 1, records
    if effects:
        assert kind == "approved"
        assert any(record.decision is not None and record.decision.kind == "approved" for record in records)
    return "ran" if effects else "did not run"


def test_a_fork_does_not_keep_its_parent_alive(tmp_path: Path) -> None:
    """A child that outlives the process that asked must not make it look as if that one still waited."""
    program = """
        import os, sys, time
        from pathlib import Path
        from llmtrace.store.claims import owner_of
        print(owner_of(Path(sys.argv[1])), flush=True)
        if os.fork() == 0:
            os.close(1)
            time.sleep(5)
        os._exit(0)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    owner = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    assert not claims.is_alive(tmp_path, owner)


def test_a_process_that_has_not_locked_its_file_yet_is_not_taken_for_dead(tmp_path: Path) -> None:
    place = tmp_path / claims.RUNNING
    place.mkdir()
    for name in ("new", "old"):
        (place / name).touch()
    os.utime(place / "old", (0, 0))
    own = claims.owner_of(tmp_path)
    assert {entry.name for entry in place.iterdir()} == {"new", own}


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400, [{"amount": -(10**400)}]])
def test_an_edit_with_a_number_that_would_run_as_another_is_refused(tmp_path: Path, number: Any) -> None:
    reviews = Reviews(tmp_path)
    reviews.propose(request("rev_n"))
    with pytest.raises(ReviewConflict, match="a number or a text that JSON cannot hold"):
        reviews.decide("rev_n", Decision("edited", {"n": number}, at=1.0), digest=DIGEST)
    assert reviews.get("rev_n").state == "proposed"
