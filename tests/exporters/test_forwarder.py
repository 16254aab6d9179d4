"""Store and forward: what is journaled is sent, by this program or the next, to its own destination and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from llmtrace import semconv
from llmtrace.cli import doctor_checks
from llmtrace.exporters.forwarding import counts
from llmtrace.exporters.forwarding.counts import reports
from llmtrace.exporters.forwarding.destination import named
from llmtrace.store import open_store
from tests.exporters.collector import Collector, GrpcCollector, refusing
from tests.exporters.programs import run, start


def names(collector: Collector | GrpcCollector) -> list[str]:
    return sorted(span.name for span in collector.spans)


def steps(count: int, name: str = "step") -> list[str]:
    return sorted(f"{name} {number}" for number in range(count))


def counted(home: Path, url: str) -> dict[str, int]:
    destination, _ = named(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert destination is not None
    return counts.read(home / "sent" / destination.id)[0]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_short_program_sends_before_it_ends(tmp_path: Path, protocol: str) -> None:
    """All spans arrive, once each, without a flush; the local store has them too."""
    with Collector() if protocol != "grpc" else GrpcCollector() as collector:
        assert run("work(20)", tmp_path, collector.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol) == ("", "")
    assert names(collector) == steps(20)
    assert len(open_store(str(tmp_path / "store")).traces()) == 20


def test_content_leaves_only_where_it_may(tmp_path: Path, collector: Collector) -> None:
    """By default nothing that anybody said; verdicts do. With ``content=all`` all of it, as the journal has it."""
    program = """
    @llmtrace.tool
    def refund(amount: float) -> dict: return {"said": "CONTENT"}
    refund("CONTENT")
    """
    run(program, tmp_path, collector.url)
    (bare,) = collector.spans
    run(program, tmp_path, collector.url, LLMTRACE_CONTENT="all")
    whole = collector.spans[1]
    assert "CONTENT" not in repr(bare)
    assert bare.attributes[semconv.TOOL_CALL_VALID] is False
    assert bare.attributes[semconv.CONTENT_LEVEL] == "none"
    assert bare.status_message
    assert "CONTENT" in whole.attributes[semconv.TOOL_CALL_RESULT]


def test_the_next_program_sends_the_rest_to_the_same_destination_only(tmp_path: Path) -> None:
    """While a collector is down all waits in the journal; programs for elsewhere, or for another tenant, leave it alone."""
    with Collector() as collector, Collector() as other:
        collector.down()
        _, logged = run("work(30, 'early')", tmp_path, collector.url)
        assert logged.count("does not accept spans (Connection refused): they wait in the journal") <= 1
        run("work(3, 'other')", tmp_path, other.url)
        collector.up()
        run("work(3, 'tenant')", tmp_path, collector.url, OTEL_EXPORTER_OTLP_HEADERS="x-scope-orgid=2")
        assert names(other) == steps(3, "other")
        assert names(collector) == steps(3, "tenant")
        run("work(2, 'late')", tmp_path, collector.url)
        assert names(collector) == sorted(steps(3, "tenant") + steps(30, "early") + steps(2, "late"))
        run("", tmp_path, collector.url)
        assert len(collector.spans) == 35
    assert counted(tmp_path / "store", collector.url)["sent"] == 32


ENDINGS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "_exit": "os._exit(3)",
    "raise": "raise SystemError('uncaught')",
    "abort": "os.abort()",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending(tmp_path: Path, ending: str, collector: Collector) -> None:
    """Every ended span arrives, in the end; the one that was open arrives in error, marked interrupted; none comes twice."""
    program = f"""
    open_ = llmtrace.span("open")
    open_.__enter__()
    work(20)
    {ENDINGS[ending]}
    """
    status, _, _ = start(program, tmp_path, collector.url).wait()
    assert status != 0
    run("", tmp_path, collector.url)
    run("", tmp_path, collector.url)
    assert names(collector) == ["open", *steps(20)]
    (opened,) = [span for span in collector.spans if span.name == "open"]
    if ending != "raise":
        assert (opened.status, opened.attributes[semconv.INTERRUPTED]) == ("error", True)
        assert opened.end is not None
        assert opened.end >= max(span.end or 0 for span in collector.spans)


def test_forks_send_their_own(tmp_path: Path, collector: Collector) -> None:
    """Parent and children, forked before the first span and in the middle of one: all spans, none twice."""
    program = """
    def child(name):
        pid = os.fork()
        if pid == 0:
            work(5, name)
            llmtrace.shutdown()
            os._exit(0)
        return pid
    children = [child("before")]
    with llmtrace.span("around"):
        work(5)
        time.sleep(1.5)
        children += [child("within")]
    for pid in children:
        os.waitpid(pid, 0)
    """
    run(program, tmp_path, collector.url)
    run("", tmp_path, collector.url)
    assert names(collector) == sorted(["around", *steps(5, "before"), *steps(5, "within"), *steps(5)])


def test_an_interrupted_span_is_counted_once_it_is_sent(tmp_path: Path, collector: Collector) -> None:
    """Not with each try that comes to nothing."""
    collector.down()
    start("llmtrace.span('open').__enter__()\nos._exit(3)", tmp_path, collector.url).wait()
    for _ in range(2):
        run("", tmp_path, collector.url)
    before = counted(tmp_path / "store", collector.url)
    collector.up()
    run("", tmp_path, collector.url)
    after = counted(tmp_path / "store", collector.url)
    assert (before["failures"] > 0, before["interrupted"], after["interrupted"]) == (True, 0, 1)


def test_a_fork_waits_for_what_is_being_imported(tmp_path: Path, collector: Collector) -> None:
    """A child that got half of `requests`, as our thread was just loading it, could never import it, nor send."""
    program = """
    import importlib.abc, os, sys, threading, time
    import llmtrace
    class Slow(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.startswith("requests.") and threading.current_thread() is not threading.main_thread():
                time.sleep(0.02)
    sys.meta_path.insert(0, Slow())
    llmtrace.configure(store=sys.argv[1])
    with llmtrace.span("parent"):
        pass
    while "requests" not in sys.modules:
        time.sleep(0.001)
    child = os.fork()
    if child == 0:
        import requests
        requests.Session
        with llmtrace.span("child"):
            pass
        llmtrace.shutdown()
        os._exit(0)
    sys.exit(os.waitpid(child, 0)[1])
    """
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "NO_PROXY": "*"}
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "store")]
    subprocess.run(command, env={**os.environ, **variables}, check=True, timeout=60)
    assert names(collector) == ["child", "parent"]


def test_processes_side_by_side(tmp_path: Path, collector: Collector) -> None:
    """Several programs at once, and what a dead one left: each span arrives once."""
    collector.down()
    run("work(200, 'left')", tmp_path, collector.url)
    collector.up()
    programs = [start(f"work(50, 'own{n}'); time.sleep(1)", tmp_path, collector.url) for n in range(3)]
    for program in programs:
        assert program.wait() == (0, "", "")
    assert names(collector) == sorted(steps(200, "left") + [step for n in range(3) for step in steps(50, f"own{n}")])


def test_an_apps_own_provider_gets_no_exporter(tmp_path: Path, collector: Collector) -> None:
    """Where the program has a provider, we send nothing, from the moment it is set; unless it names a destination itself."""
    program = """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    work(2, 'before')
    trace.set_tracer_provider(TracerProvider())
    assert not trace.get_tracer_provider()._active_span_processor._span_processors[1:]
    work(2, 'after')
    if os.environ.get("NAMED"):
        llmtrace.configure(store=os.environ["STORE"], exporters=["otlp:" + os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]])
        work(2, 'named')
    """
    run(program, tmp_path, collector.url)
    assert names(collector) == steps(2, "before")
    run(program, tmp_path, collector.url, NAMED="1")
    assert names(collector) == sorted(2 * steps(2, "before") + steps(2, "named"))


def test_without_a_terminal_only_what_is_to_be_sent_is_kept(tmp_path: Path, collector: Collector) -> None:
    """``auto``: nothing stays where all was sent; while the collector is down, what waits has no content in it."""
    program = """
    @llmtrace.tool
    def say(text: str) -> str: return text
    say("CONTENT")
    """
    home = tmp_path / "llmtrace"
    run(program, tmp_path, collector.url, STORE="auto")
    assert len(collector.spans) == 1
    assert list(home.rglob("*.journal")) == []
    collector.down()
    run(program, tmp_path, collector.url, STORE="auto")
    (waiting,) = home.rglob("*.journal")
    assert b"execute_tool say" in waiting.read_bytes()
    assert b"CONTENT" not in waiting.read_bytes()
    assert open_store(str(home)).traces() == []
    collector.up()
    run("", tmp_path, collector.url, STORE="auto")
    assert len(collector.spans) == 2
    assert list(home.rglob("*.journal")) == []
    assert {path.stat().st_mode & 0o077 for path in home.rglob("*")} == {0}


def test_a_run_that_keeps_nothing_has_nothing_to_tell(tmp_path: Path, collector: Collector) -> None:
    """``llmtrace run`` without a terminal: the spans are sent, and no line is said of a trace that is not here."""
    (tmp_path / "agent.py").write_text("import llmtrace\nwith llmtrace.span('x'): pass\n")
    program = f"from llmtrace.cli import main; sys.exit(main(['run', {str(tmp_path / 'agent.py')!r}]))"
    printed, logged = run(program, tmp_path, collector.url, STORE="auto")
    assert (printed, logged) == ("", "")
    assert names(collector) == ["invoke_workflow agent.py", "x"]


def test_with_a_terminal_the_store_is_on(tmp_path: Path, collector: Collector) -> None:
    """``auto`` where somebody looks on: sent, and kept."""
    import pty

    _, terminal = pty.openpty()
    program = "import llmtrace; llmtrace.configure()\nwith llmtrace.span('x'): pass"
    variables = {"XDG_DATA_HOME": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "NO_PROXY": "*"}
    subprocess.run([__import__("sys").executable, "-c", program], stdin=terminal, env={**os.environ, **variables}, check=True)
    assert names(collector) == ["x"]
    assert [one.name for one in open_store(str(tmp_path / "llmtrace")).traces()] == ["x"]


def test_a_store_that_is_off(tmp_path: Path, collector: Collector) -> None:
    """Spans are sent from memory, and nothing is written."""
    run("work(10)", tmp_path, collector.url, STORE="off")
    assert names(collector) == steps(10)
    assert list(tmp_path.rglob("*.journal")) == []


def test_configured_anew_with_a_store_that_is_off(tmp_path: Path, collector: Collector) -> None:
    """What waits in memory is sent before."""
    run("work(10); llmtrace.configure(store='off'); work(3, 'more')", tmp_path, collector.url, STORE="off")
    assert names(collector) == sorted(steps(10) + steps(3, "more"))


def test_an_unwritable_disk(tmp_path: Path, collector: Collector) -> None:
    """Spans that no disk takes are sent from memory; one line says that they are not kept."""
    (tmp_path / "file").touch()
    _, logged = run("work(10)", tmp_path, collector.url, STORE=str(tmp_path / "file" / "store"))
    assert names(collector) == steps(10)
    assert "cannot write to" in logged


def test_a_collector_that_stalls_holds_nobody(tmp_path: Path, collector: Collector) -> None:
    """A request without an answer neither holds a span nor, for long, the exit; its spans are sent by the next program."""
    collector.stalling.set()
    program = "work(5); time.sleep(1.5); work(5, 'more'); print(time.time())"
    ended, _ = run(program, tmp_path, collector.url)
    assert time.time() - float(ended) < 4  # two seconds, and the interpreter's end on a busy machine
    collector.stalling.clear()
    run("", tmp_path, collector.url)
    assert names(collector) == sorted(steps(5) + steps(5, "more"))


def test_large_spans_are_shrunk_on_the_wire_and_whole_in_the_store(tmp_path: Path) -> None:
    """413 for what is above 100 KB: the span arrives cut, the store keeps it all."""
    program = """
    with llmtrace.context(note="x" * 300_000), llmtrace.span("large"): pass
    work(3)
    """
    with Collector(lambda spans, size: ((413 if size > 100_000 else 200), {}, b"")) as collector:
        run(program, tmp_path, collector.url)
    assert names(collector) == sorted(["large", *steps(3)])
    (large,) = [span for span in collector.spans if span.name == "large"]
    assert large.attributes[semconv.CONTENT_TRUNCATED] > 200_000
    kept = [span for trace in open_store(str(tmp_path / "store")).spans() for span in [trace] if span.name == "large"]
    assert any(value == "x" * 300_000 for value in kept[0].attributes.values())


def test_tempo(tmp_path: Path, collector: Collector) -> None:
    """``otlp_profile=tempo``: each text that is sent is within 2 KB."""
    run(
        "with llmtrace.context(note='x' * 9000), llmtrace.span('s'): pass",
        tmp_path,
        collector.url,
        LLMTRACE_OTLP_PROFILE="tempo",
    )
    (span,) = collector.spans
    assert max(len(held) for held in span.attributes.values() if isinstance(held, str)) <= 2048


def test_what_cannot_be_sent_is_said_and_counted(tmp_path: Path) -> None:
    """Where an endpoint takes nothing at all, spans wait; where it rejects some, a line says so, and they are counted."""
    with Collector(refusing(400)) as collector:
        _, logged = run("work(4)", tmp_path, collector.url)
        assert re.search(r"OTLP: http://\S+ does not accept spans \(HTTP 400\): they wait in the journal", logged)
        assert logged.count("\n") == 1
        assert (counted(tmp_path / "store", collector.url)["refused"], len(collector.requests)) == (0, 3)
        collector.script = lambda spans, size: (400 if any(span.name == "step 2" for span in spans) else 200, {}, b"")
        _, logged = run("", tmp_path, collector.url)
    assert re.search(r"OTLP: the endpoint rejected spans \(HTTP 400\): 1 so far, which are dropped", logged)
    counts = counted(tmp_path / "store", collector.url)
    assert (counts["refused"], counts["sent"]) == (1, 3)


def test_a_program_that_goes_on_sends_without_being_asked(tmp_path: Path, collector: Collector) -> None:
    """Spans of a program that runs arrive while it does."""
    program = start("work(7); time.sleep(60)", tmp_path, collector.url)
    collector.wait(7)
    program.kill()
    program.wait()
    assert names(collector) == steps(7)


def test_flush_sends(tmp_path: Path, collector: Collector) -> None:
    """What is journaled when `flush` is called has been sent when it returns."""
    run("work(7); llmtrace.flush(); os._exit(0)", tmp_path, collector.url)
    assert names(collector) == steps(7)


def test_what_the_bounds_remove_before_it_was_sent_is_counted(tmp_path: Path, collector: Collector) -> None:
    """Retention by size and age goes on while a collector is away; what goes with it unsent is a number, and a line."""
    collector.down()
    run("work(30)", tmp_path, collector.url)
    run("work(5)", tmp_path, collector.url)
    journals = sorted((tmp_path / "store" / "journal").glob("*.journal"))
    for journal, days in zip(journals, (4, 1.4), strict=True):
        os.utime(journal, (time.time() - days * 86400,) * 2)
    _, logged = run("work(1)", tmp_path, collector.url, LLMTRACE_MAX_STORE_DAYS="3")
    assert "30 spans were removed from" in logged
    assert not journals[0].exists()
    collector.up()
    run("", tmp_path, collector.url)
    assert len(collector.spans) == 6
    (report,) = reports(tmp_path / "store")
    assert (report.counts["lost"], report.counts["sent"], report.waiting) == (30, 6, 0)


def test_doctor_tells_what_was_sent_and_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    """The address without secrets, the numbers, and what to do about what waits."""
    run("work(3)", tmp_path, collector.url)
    collector.down()
    run("work(4)", tmp_path, collector.url, OTEL_EXPORTER_OTLP_HEADERS="api-key=s3cr3t")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    told = [finding for finding in doctor_checks.everything(str(tmp_path / "store")) if finding.about == "OTLP"]
    said = "\n".join(f"{finding.status} {finding.text}" for finding in told)
    assert f"ok spans go to {collector.url}/v1/traces by http/protobuf, without content" in said
    assert "ok 3 spans sent to" in said
    assert "note 4 spans wait in the journal; they are sent by the next program with that address and those headers" in said
    assert "s3cr3t" not in said


def test_doctor_says_why_spans_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key is told from an endpoint that is down; once it takes them nothing is said."""
    with Collector(refusing(401)) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        run("work(3)", tmp_path, collector.url)
        told = [finding for finding in doctor_checks.everything(str(tmp_path / "store")) if finding.about == "OTLP"]
        (waiting,) = [finding for finding in told if finding.status == "note"]
        assert (
            waiting.text == "3 spans wait in the journal; they are sent when the endpoint accepts them (its answer: HTTP 401)"
        )
        assert waiting.advice == "Check the key that is sent."
        collector.script = lambda spans, size: (200, {}, b"")
        run("", tmp_path, collector.url)
        (report,) = reports(tmp_path / "store")
        assert (report.waiting, report.why, report.counts["sent"]) == (0, "", 3)
