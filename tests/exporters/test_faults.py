"""Everything goes wrong at random: programs are killed, the collector comes and goes, refuses and stalls, the disk is full, the
clock jumps. In the end every span that had ended has arrived, and none that was made up. ``-m long`` goes on for minutes.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llmtrace import log_once, semconv
from llmtrace.exporters.forwarding import retries
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.model import RawSpan
from tests.exporters.collector import Collector
from tests.exporters.programs import Program, run, start

_QUICK = "from llmtrace.exporters.forwarding import forwarder, retries; forwarder.INTERVAL = 0.05; retries.LONGEST = 0.2\n"
_WORKER = (
    _QUICK
    + """
import random
chance, number = random.Random(int(os.environ["SEED"])), 0
while True:
    number += 1
    with llmtrace.context(text="x" * chance.choice([1, 1, 1, 1000, 30_000])), llmtrace.span(f"{os.environ['SEED']}:{number}"):
        pass
    print(number, flush=True)
    if chance.random() < 0.05:
        time.sleep(chance.uniform(0, 0.05))
"""
)


@contextmanager
def moody(collector: Collector, chance: random.Random) -> Iterator[None]:
    """A collector that changes its mind every few milliseconds, until the end of the block."""
    done = threading.Event()

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        status = chance.choice([200, 200, 200, 503, 429, 413 if size > 5_000 else 200])
        return status, {"retry-after": "0"} if status == 429 else {}, b""

    def change() -> None:
        while not done.is_set():
            {0: collector.down, 1: collector.stalling.set}.get(chance.randrange(4), lambda: None)()
            done.wait(chance.uniform(0.01, 0.15))
            collector.stalling.clear()
            if collector._server is None:
                collector.up()
            done.wait(chance.uniform(0.05, 0.3))

    collector.script = script
    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        collector.script = lambda spans, size: (200, {}, b"")


def ended(program: Program) -> int:
    """The number of spans whose end the program has told of."""
    _, printed, _ = program.wait()
    return max((int(line) for line in printed.splitlines() if line.strip().isdigit()), default=0)


def rest(home: Path, url: str, collector: Collector, expected: set[str], patience: float = 60) -> None:
    """Programs of the same destination, one after the other, until all has come."""
    deadline = time.monotonic() + patience
    while expected - {span.name for span in collector.spans} and time.monotonic() < deadline:
        run(_QUICK + "for _ in range(5): llmtrace.flush()", home, url)


def storm(tmp_path: Path, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    expected, began = set[str](), set[str]()
    with Collector() as collector:
        with moody(collector, chance):
            for number in range(rounds):
                seeds = [f"{seed + 100 * number + worker}" for worker in range(3)]
                programs = [start(_WORKER, tmp_path, collector.url, SEED=one) for one in seeds]
                for program in programs:
                    program.begun()
                time.sleep(chance.uniform(0.0, 0.4))
                for one, program in zip(seeds, programs, strict=True):
                    program.kill(chance.choice([9, 15, 6]))
                    count = ended(program)
                    expected |= {f"{one}:{at}" for at in range(1, count + 1)}
                    began.add(one)
        rest(tmp_path, collector.url, collector, expected)
        arrived = [span for span in collector.spans if not span.attributes.get(semconv.INTERRUPTED)]
    assert len(expected) > 20 * rounds
    assert expected - {span.name for span in arrived} == set()
    assert {span.name.partition(":")[0] for span in arrived} <= began
    for span in arrived:  # whole, but for those that were cut for a 413, which say so
        text = next(held for name, held in span.attributes.items() if name.endswith(".text"))
        assert set(text) == {"x"} or semconv.CONTENT_TRUNCATED in span.attributes


def test_kills_and_a_moody_collector(tmp_path: Path) -> None:
    """Killed at random moments while the collector is down, refuses or stalls: nothing that had ended is lost."""
    storm(tmp_path, seed=1, rounds=2)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(10_000, 60_000, 10_000))
def test_kills_and_a_moody_collector_for_long(tmp_path: Path, seed: int) -> None:
    storm(tmp_path, seed=seed, rounds=30)


def test_a_full_disk(tmp_path: Path) -> None:
    """While no byte can be written spans are sent from memory or wait there; those written before and after arrive as well."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=False, capture_output=True
    ).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        program = """
        from llmtrace.store import journal
        journal.RETRY_SECONDS = 0.1
        with llmtrace.context(text="x" * 3000): work(200)
        """
        with Collector() as collector:
            _, logged = run(program, tmp_path, collector.url, STORE=str(disk / "store"))
            assert "No space left on device" in logged
            assert sorted({span.name for span in collector.spans}) == sorted(f"step {number}" for number in range(200))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_no_descriptor_left(tmp_path: Path, collector: Collector) -> None:
    """A program without a free descriptor goes on, and its spans are sent when it has some again."""
    program = """
    import resource
    from llmtrace.store import journal
    work(1, "earlier")
    journal.RETRY_SECONDS = 0.1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    held = []
    try:
        while True: held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError: pass
    work(20)
    for number in held: os.close(number)
    time.sleep(0.2)
    work(1, "later")
    """
    run(program, tmp_path, collector.url)
    run("", tmp_path, collector.url)
    assert {span.name for span in collector.spans} == {*(f"step {number}" for number in range(20)), "earlier 0", "later 0"}


def test_the_clock_jumps(tmp_path: Path, collector: Collector) -> None:
    """Hours back and forth between spans, and across programs: all arrive, and none ends before it began."""
    program = """
    real, jumps = time.time_ns, [0]
    time.time_ns = lambda: real() + jumps[0]
    from llmtrace.recorder import active, identity
    object.__setattr__(active().identity, "clock", time.time_ns)
    for hours in (0, -5, 5, -24 * 365, 24 * 365):
        with llmtrace.span(f"jump {hours}"):
            jumps[0] = hours * 3600 * 10**9
        work(1, f"at {hours}")
    """
    collector.down()
    run(program, tmp_path, collector.url)
    collector.up()
    run("", tmp_path, collector.url)
    assert len(collector.spans) == 10
    assert all((span.end or 0) >= span.start for span in collector.spans)


def test_the_breaker_keeps_to_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that goes back a year holds nothing up."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    circuit = retries.Breaker()
    circuit.failed()
    assert 0 < circuit.seconds < 2


@pytest.mark.long
@pytest.mark.timeout(600)
def test_sixteen_processes(tmp_path: Path, collector: Collector) -> None:
    """16 processes × 10,000 spans into one store, each sends its own: none lost, in the store none twice."""
    from llmtrace.store import Query, open_store

    programs = [start(f"work(10_000, '{number}')", tmp_path, collector.url) for number in range(16)]
    assert {program.wait()[0] for program in programs} == {0}
    expected = {f"{number} {at}" for number in range(16) for at in range(10_000)}
    rest(tmp_path, collector.url, collector, expected, patience=400)
    assert {span.name for span in collector.spans} == expected
    assert sum(1 for _ in open_store(str(tmp_path / "store")).spans(Query(limit=1_000_000))) == 160_000


def test_each_endpoint_has_its_own_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Once a minute, whatever its numbers are: the address that somebody corrected is heard of at once, too."""
    monkeypatch.setattr(log_once, "_logged", {})
    for url in ("http://one:4318", "http://one:4318", "http://two:4318"):
        Counts().warn(f"{url} does not accept spans (HTTP 503): they wait in the journal")
    assert [record.message.split()[2] for record in caplog.records] == ["http://one:4318", "http://two:4318"]
