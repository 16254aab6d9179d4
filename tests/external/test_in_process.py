"""Spans that other instrumentations make in this process get the same signals, once, and the program notices nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrace.model import Custom, Inference, Span, ToolExecution
from llmtrace.store import Query, open_store

Run = Callable[[str], dict[str, Span]]
OUTPUT = json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "f", "arguments": "{"}]}])
PRELUDE = f"""
import llmtrace
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
CHAT = {{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "theirs", "gen_ai.output.messages": {OUTPUT!r}}}

def their(name, **attributes):
    return trace.get_tracer("theirs").start_as_current_span(name, attributes=attributes)

def their_chat(name):
    with their(name, **CHAT):
        pass

def our_inference(model=None):
    from llmtrace.recorder import active
    from llmtrace.model import Inference
    return active().start(Inference("ours", request_model=model))
"""


@pytest.fixture
def spans_of(tmp_path: Path) -> Run:
    """Runs a program of its own, since a provider is set once a process; its spans by name."""

    def run(program: str) -> dict[str, Span]:
        path = tmp_path / "program.py"
        path.write_text(PRELUDE + textwrap.dedent(program).replace("STORE", repr(str(tmp_path / "store"))))
        ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        with contextlib.closing(open_store(str(tmp_path / "store"))) as store:
            found = [span for one in store.traces(Query(limit=100)) for span in store.trace(one.trace_id).spans]
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}

    return run


def test_a_tool_that_only_its_library_tells_of_is_refused_in_a_replay(spans_of: Run) -> None:
    """Its span says what it is when it starts, and no recorded result can take its place."""
    spans_of(
        """
        from llmtrace.store import open_store
        ran = []

        @llmtrace.agent
        def agent():
            with their("execute_tool f", **{"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f"}):
                ran.append("f")

        llmtrace.configure(store=STORE)
        agent()
        llmtrace.shutdown()
        llmtrace.configure(store=STORE + "-again")
        try:
            with llmtrace.replay(open_store(STORE).trace("last")):
                agent()
        except llmtrace.errors.ReplayDiverged as refused:
            assert "runs the tool f by itself" in str(refused) and '"f": "live"' in str(refused), refused
        assert ran == ["f"]
        """,
    )


def test_where_the_program_has_no_provider(spans_of: Run) -> None:
    """Their inferences are recorded and judged when we are the only one there, by tracers that were made before too; other
    spans of a program are not taken."""
    spans = spans_of(
        """
        early = trace.get_tracer("of a library that was imported before")
        llmtrace.configure(store=STORE)
        their_chat("chat")
        with early.start_as_current_span("early chat", attributes=CHAT):
            pass
        with their("select from orders"):
            pass
        """,
    )
    assert sorted(spans) == ["chat", "early chat"]
    assert spans["early chat"].scope.name == "of a library that was imported before"
    assert isinstance(spans["chat"].operation, Inference)
    assert [violation.code for violation in spans["chat"].violations] == ["malformed_json"]
    assert spans["chat"].run_id is not None


def test_whoever_looks_sees_no_provider_of_ours(spans_of: Run) -> None:
    """A program may still set its provider, and tracers that were handed out before go over to it."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        tracer = trace.get_tracer("theirs")
        with tracer.start_as_current_span("before", attributes=CHAT):
            pass
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter = InMemorySpanExporter()
        own = TracerProvider()
        own.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(own)
        assert trace.get_tracer_provider() is own
        with tracer.start_as_current_span("after", attributes=CHAT):
            pass
        assert [span.name for span in exporter.get_finished_spans()] == ["after"]
        llmtrace.shutdown()
        with tracer.start_as_current_span("when it was over", attributes=CHAT):
            pass
        """,
    )
    assert sorted(spans) == ["after", "before"]


def test_where_the_program_has_set_its_provider_before(spans_of: Run) -> None:
    spans = spans_of(
        """
        trace.set_tracer_provider(TracerProvider())
        llmtrace.configure(store=STORE)
        llmtrace.configure(store=STORE)
        their_chat("chat")
        """,
    )
    assert list(spans) == ["chat"]


def test_where_the_programs_provider_is_a_proxy_of_one(spans_of: Run) -> None:
    """Like logfire's: no class of the SDK's, cannot be hashed, and gets another provider when it is configured again."""
    spans = spans_of(
        """
        from dataclasses import dataclass
        from opentelemetry.trace import NoOpTracerProvider, TracerProvider as Interface

        @dataclass
        class Proxy(Interface):
            provider: Interface
            def get_tracer(self, *args, **kwargs):
                return self.provider.get_tracer(*args, **kwargs)

        proxy = Proxy(NoOpTracerProvider())
        trace.set_tracer_provider(proxy)
        llmtrace.configure(store=STORE)
        for number in (1, 2):
            proxy.provider = TracerProvider()
            with llmtrace.agent(f"support {number}"):
                pass
            with their(f"agent {number}", **{"gen_ai.operation.name": "invoke_agent"}):
                with their(f"step {number}"):
                    our_inference(f"model {number}").end()
        """,
    )
    parents = {span.span_id: name for name, span in spans.items()}
    for number in "12":
        call = spans[f"chat model {number}"]
        assert parents[call.parent_id or ""] == f"step {number}"
        assert parents[spans[f"step {number}"].parent_id or ""] == f"agent {number}"
        assert call.run_id == spans[f"agent {number}"].run_id


def test_inside_suppress_theirs_is_left_out_too(spans_of: Run) -> None:
    """Also where another instrumentation does not ask whether recording is off."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        with llmtrace.agent("support"):
            with llmtrace.suppress(), their("quiet", **CHAT):
                pass
            their_chat("loud")
        """,
    )
    assert sorted(spans) == ["invoke_agent support", "loud"]


def test_below_ours_everything_is_taken_into_the_run(spans_of: Run) -> None:
    """What happens in a tool is seen, whoever records it; it is judged at once, and has its place in the run."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        with llmtrace.span("ours"):
            with their("query"):
                their_chat("chat")
        """,
    )
    ours = spans["ours"]
    assert spans["query"].parent_id == ours.span_id
    assert spans["chat"].parent_id == spans["query"].span_id
    assert [spans[name].sequence for name in ("chat", "query", "ours")] == [0, 1, 2]
    assert {span.run_id for span in spans.values()} == {ours.run_id}
    assert [violation.code for violation in spans["chat"].violations] == ["malformed_json"]
    assert not any(found.derived for found in spans["chat"].evaluations)


def test_inside_ours_theirs_is_left_out(spans_of: Run) -> None:
    """One inference a call: another instrumentation of the same call adds none."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        ours = our_inference()
        with ours.use():
            their_chat("inside")
        ours.end()
        """,
    )
    assert list(spans) == ["chat"]
    assert spans["chat"].operation == Inference("ours", fingerprint=spans["chat"].operation.fingerprint)  # type: ignore[union-attr]


def test_a_report_on_a_stream_of_ours_that_is_over_is_left_out(spans_of: Run) -> None:
    """Below our span, but begun where it is current no more, and after its end: it says once more what our span says."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        with their("request"):
            ours = our_inference("ours")
            around = trace.set_span_in_context(ours.otel)
            ours.end()
            trace.get_tracer("theirs").start_span("streamed", context=around, attributes=CHAT).end()
        """,
    )
    assert sorted(spans) == ["chat ours", "request"]


def test_a_span_that_begins_below_ours_where_ours_is_current_no_more_is_in_its_run(spans_of: Run) -> None:
    """A report on a stream of theirs, below our agent (logfire)."""
    spans = spans_of(
        """
        from opentelemetry.context import Context
        llmtrace.configure(store=STORE)
        outside = trace.set_span_in_context(trace.get_tracer("theirs").start_span("other request"))
        with llmtrace.agent("support"):
            around = trace.set_span_in_context(trace.get_current_span(), Context())
            their_chat("chat")
            tracer = trace.get_tracer("theirs")
            tracer.start_span("report", context=around, attributes={"gen_ai.request.model": "m"}).end()
            tracer.start_span("other", context=outside, attributes=CHAT).end()
        """,
    )
    assert {spans[name].run_id for name in ("chat", "report")} == {spans["invoke_agent support"].run_id}
    assert spans["other"].run_id not in (None, spans["chat"].run_id)


def test_inside_ours_their_execution_of_the_same_tool_is_a_plain_span(spans_of: Run) -> None:
    """The tool ran once, and what it did stands below it. Another tool that it runs is an execution of its own."""
    spans = spans_of(
        """
        from llmtrace.model import ToolExecution
        from llmtrace.recorder import active
        def told(name):
            return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}
        llmtrace.configure(store=STORE)
        ours = active().start(ToolExecution("look_up"), name="ours")
        with ours.use():
            with their("same", **told("look_up")):
                with their("other", **told("query")):
                    pass
        ours.end()
        """,
    )
    kinds = {name: type(span.operation).__name__ for name, span in spans.items()}
    assert kinds == {"ours": "ToolExecution", "same": "Custom", "other": "ToolExecution"}
    assert (spans["same"].parent_id, spans["other"].parent_id) == (spans["ours"].span_id, spans["same"].span_id)


def test_their_steps_around_inside_and_beside_ours_are_plain_spans(spans_of: Run) -> None:
    """An agent, a workflow and an execution are recorded once, whichever is outside, and however a name is written. Where their
    instrumentation keeps parents of its own, theirs is beside ours. Another agent inside is one of its own."""
    spans = spans_of(
        """
        from llmtrace.model import AgentInvocation, ToolExecution, Workflow
        from llmtrace.recorder import active
        def step(operation, name):
            key = "gen_ai.tool.name" if operation == "execute_tool" else "gen_ai.agent.name"
            return {"gen_ai.operation.name": operation, key: name, "gen_ai.tool.call.arguments": '{"order": "7"}'}
        llmtrace.configure(store=STORE)
        with their("around", **step("invoke_agent", "Support Desk")):
            agent = active().start(AgentInvocation("support_desk"), name="ours")
            with agent.use():
                with their("inside", **step("invoke_agent", "support desk")):
                    with their("another", **step("invoke_agent", "billing")):
                        pass
                    parent = trace.get_current_span()
                tool = active().start(ToolExecution("look_up", {"order": "7"}), name="our tool")
                with tool.use(), trace.use_span(parent):
                    with their("beside", **step("execute_tool", "look_up")):
                        pass
                tool.end()
            agent.end()
        """,
    )
    assert {name for name, span in spans.items() if isinstance(span.operation, Custom)} == {"around", "inside", "beside"}


def test_around_ours_theirs_is_a_plain_span(spans_of: Run) -> None:
    """Theirs keeps its place in the tree; the inference is ours."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        with their("around", **CHAT):
            our_inference().end()
        """,
    )
    assert isinstance(spans["around"].operation, Custom)
    assert isinstance(spans["chat"].operation, Inference)
    assert spans["chat"].parent_id == spans["around"].span_id


def test_roots_that_tell_of_one_call_are_one_inference(spans_of: Run) -> None:
    """Spans of others that are never current (callbacks, streams) are roots of a trace of their own: the answer shows the call,
    and where ours has none yet, the model and the thread do. Another model, or another thread, is another call."""
    spans = spans_of(
        """
        import json, threading
        from llmtrace.model import Inference, Message, Text, replace
        from llmtrace.recorder import active
        ASKED = Inference("ours", request_model="m")
        ANSWERED = replace(ASKED, output=(Message("assistant", (Text("Yes."),)),))
        TOLD = {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Yes."}]}])}
        tracer = trace.get_tracer("theirs")
        def theirs(name, model):
            return tracer.start_span(name, attributes={**CHAT, **TOLD, "gen_ai.request.model": model})
        llmtrace.configure(store=STORE)
        around = theirs("ended after ours", "router/m")
        ours = active().start(ASKED, name="ours 1")
        ours.end(ANSWERED)
        around.end()
        for name, model in (("ended before ours", "m"), ("of another model", "n")):
            one = theirs(name, model)
            ours = active().start(ASKED, name="ours " + name)
            one.end()
            ours.end(ANSWERED)
        one = theirs("on another thread", "m")
        ours = active().start(ASKED, name="ours 4")
        thread = threading.Thread(target=one.end)
        thread.start()
        thread.join()
        ours.end(ANSWERED)
        """,
    )
    kinds = {name: type(span.operation).__name__ for name, span in spans.items() if not name.startswith("ours")}
    assert kinds == {
        "ended after ours": "Custom",
        "ended before ours": "Custom",
        "of another model": "Inference",
        "on another thread": "Inference",
    }
    assert sum(isinstance(span.operation, Inference) for name, span in spans.items() if name.startswith("ours")) == 4


def test_beside_ours_theirs_is_a_plain_span(spans_of: Run) -> None:
    """A framework whose spans of a stream are current no more when the client makes its request: the answer shows it."""
    spans = spans_of(
        """
        from llmtrace.model import Inference, Message, Text, replace
        def our(text, model):
            from llmtrace.recorder import active
            asked = Inference("ours", request_model=model)
            active().start(asked).end(replace(asked, output=(Message("assistant", (Text(text),)),)))
        def told(text):
            return json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": text}]}])
        import json
        llmtrace.configure(store=STORE)
        with their("step"):
            outer = trace.get_tracer("theirs").start_span("outer", attributes=CHAT)
            with trace.use_span(outer):
                inner = trace.get_tracer("theirs").start_span("inner", attributes=CHAT)
            our("Yes.", "yes")
            inner.set_attribute("gen_ai.output.messages", told("Yes."))
            inner.end()
            outer.end()
            other = trace.get_tracer("theirs").start_span("other", attributes=CHAT)
            our("No.", "no")
            other.set_attribute("gen_ai.output.messages", told("Yes."))
            other.end()
        """,
    )
    kinds = {name: type(span.operation).__name__ for name, span in spans.items()}
    assert kinds == {
        "step": "Custom",
        "outer": "Custom",
        "inner": "Custom",
        "other": "Inference",
        "chat yes": "Inference",
        "chat no": "Inference",
    }


def test_parallel_calls_with_the_same_answer_stay_apart(spans_of: Run) -> None:
    """A call of a library that is traced by others only, beside one of ours: the same model and the same answer at the same
    time do not make them one. Ids of the answers do, and so does the thread or the task that made the call."""
    spans = spans_of(
        """
        import asyncio, json, threading
        from llmtrace.model import Inference, Message, Text, replace
        from llmtrace.recorder import active
        TOLD = {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "yes"}]}])}
        tracer = trace.get_tracer("theirs")
        def theirs(name, **more):
            return tracer.start_span(name, attributes={**CHAT, **TOLD, "gen_ai.request.model": "m", **more})
        def ours(name, response_id=None):
            asked = Inference("ours", request_model="m")
            answer = (Message("assistant", (Text("yes"),)),)
            active().start(asked, name="ours " + name).end(replace(asked, output=answer, response_id=response_id))
        llmtrace.configure(store=STORE)

        first, second = theirs("by id"), theirs("other id")
        ours("1", "ours-1")
        second.set_attribute("gen_ai.response.id", "theirs-1")
        first.set_attribute("gen_ai.response.id", "ours-1")
        first.end(), second.end()

        async def call(name, is_ours):
            span = theirs(name)
            await asyncio.sleep(0.01)
            if is_ours:
                ours(name)
            await asyncio.sleep(0.01)
            span.end()
        async def calls():
            await asyncio.gather(call("task of another", False), call("task of ours", True), call("task of a third", False))
        asyncio.run(calls())

        other = threading.Thread(target=lambda: globals().update(on_thread=theirs("thread of another")))
        other.start(), other.join()
        ours("thread")
        on_thread.end()
        """,
    )
    kinds = {name: type(span.operation).__name__ for name, span in spans.items() if not name.startswith("ours")}
    assert kinds == {
        "by id": "Custom",
        "other id": "Inference",
        "task of another": "Inference",
        "task of ours": "Custom",
        "task of a third": "Inference",
        "thread of another": "Inference",
    }


def test_a_fork_in_between(spans_of: Run) -> None:
    """A child has neither our thread nor a lock that somebody holds: it goes on, and its spans are there."""
    spans = spans_of(
        """
        import os
        llmtrace.configure(store=STORE)
        their_chat("parent")
        child = os.fork()
        if child == 0:
            their_chat("child")
            llmtrace.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
    )
    assert sorted(spans) == ["child", "parent"]
    assert all(span.violations for span in spans.values())


def test_nothing_is_taken_where_nothing_is_kept(tmp_path: Path) -> None:
    """``store="off"`` leaves OpenTelemetry alone."""
    path = tmp_path / "program.py"
    path.write_text(
        PRELUDE + "before = trace.get_tracer_provider()\nllmtrace.configure(store='off')\n"
        "assert trace.get_tracer_provider() is before\n"
    )
    subprocess.run([sys.executable, str(path)], check=True, timeout=60)


def test_a_frameworks_agent_is_one_run(spans_of: Run) -> None:
    """Below an agent that a framework records, its spans and ours are one run: what one step taught counts in the next."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        with their("agent", **{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"}):
            with their("step"):
                their_chat("chat")
            with llmtrace.span("ours"):
                pass
        with their("another", **{"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "b"}):
            pass
        """,
    )
    assert sorted(spans) == ["agent", "another", "chat", "ours", "step"]
    assert (spans["chat"].parent_id, spans["step"].parent_id) == (spans["step"].span_id, spans["agent"].span_id)
    assert [spans[name].sequence for name in ("chat", "step", "ours", "agent")] == [0, 1, 2, 3]
    assert {spans[name].run_id for name in ("chat", "step", "ours")} == {spans["agent"].run_id}
    assert spans["another"].run_id not in (None, spans["agent"].run_id)


def test_the_conversation_of_a_frameworks_agent_is_that_of_our_calls_below(spans_of: Run) -> None:
    """Also where a plain span is between, and the agent names it after it began. What the program says comes first."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)
        with their("agent", **{"gen_ai.operation.name": "invoke_agent"}) as agent:
            our_inference("before").end()
            agent.set_attribute("gen_ai.conversation.id", "theirs")
            with their("step"):
                our_inference("below").end()
            with llmtrace.context(conversation="ours"):
                our_inference("own").end()
        """,
    )
    conversations = {
        name: spans[f"chat {name}"].attributes.get("gen_ai.conversation.id") for name in ("before", "below", "own")
    }
    assert conversations == {"before": None, "below": "theirs", "own": "ours"}


def test_what_is_set_around_a_frameworks_agent_is_its_conversation(spans_of: Run) -> None:
    """Before what the agent says, and on all below it. The id of a response, as a framework gives it, is none."""
    spans = spans_of(
        """
        llmtrace.configure(store=STORE)

        def agent(name):
            with their(name, **{"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "resp_1"}):
                our_inference(name).end()
        with llmtrace.context(conversation="ours"):
            agent("inside")
        agent("alone")
        """,
    )
    conversations = {name: span.attributes.get("gen_ai.conversation.id") for name, span in spans.items()}
    assert conversations == {"inside": "ours", "chat inside": "ours", "alone": None, "chat alone": None}


def test_a_request_is_one_run_and_its_tree_is_whole(spans_of: Run) -> None:
    """Plain spans of others around agents, and between them and their calls, are kept, the outermost too; those that have
    nothing of an agent below them are not."""
    spans = spans_of(
        """
        AGENT = {"gen_ai.operation.name": "invoke_agent"}
        llmtrace.configure(store=STORE)
        with their("request"):
            with their("select from users"):
                pass
            with their("workflow"):
                with their("agent 1", **AGENT):
                    their_chat("chat")
                with their("agent 2", **AGENT):
                    our_inference("ours").end()
            with their("step of our own"):
                with llmtrace.span("ours"):
                    pass
            with their("insert into audit"):
                pass
        with their("request for an image"):
            with their("select from images"):
                pass
        """,
    )
    parents = {span.span_id: name for name, span in spans.items()}
    assert {name: parents.get(span.parent_id or "") for name, span in spans.items()} == {
        "request": None,
        "workflow": "request",
        "agent 1": "workflow",
        "chat": "agent 1",
        "agent 2": "workflow",
        "chat ours": "agent 2",
        "step of our own": "request",
        "ours": "step of our own",
    }
    assert len({span.run_id for span in spans.values()}) == 1
    assert sorted(spans, key=lambda name: spans[name].sequence or 0)[-1] == "request"


def test_an_execution_is_joined_to_its_call(spans_of: Run) -> None:
    """In a run, their execution answers the pending call of the same tool and arguments, whoever recorded the model call; one
    that names the call and keeps its arguments to itself has those of the call."""
    spans = spans_of(
        """
        import json
        ASKED = [{"type": "tool_call", "id": str(n), "name": "f", "arguments": {"n": n}} for n in (1, 2, 3)]
        TOLD = {**CHAT, "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": ASKED}])}
        RUN = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f"}
        llmtrace.configure(store=STORE)
        with their("agent", **{"gen_ai.operation.name": "invoke_agent"}):
            with their("chat", **TOLD):
                pass
            with their("second", **RUN, **{"gen_ai.tool.call.arguments": '{"n": 2}'}):
                pass
            with their("first", **RUN, **{"gen_ai.tool.call.arguments": '{"n": 1}'}):
                pass
            with their("silent", **RUN, **{"gen_ai.tool.call.id": "3"}):
                pass
            with their("unasked", **RUN, **{"gen_ai.tool.call.arguments": '{"n": 4}'}):
                pass
        """,
    )
    ran = {name: span.operation for name, span in spans.items() if isinstance(span.operation, ToolExecution)}
    assert {name: (one.call_id, one.arguments, one.inferred) for name, one in ran.items()} == {
        "second": ("2", {"n": 2}, True),
        "first": ("1", {"n": 1}, True),
        "unasked": (None, {"n": 4}, False),
        "silent": ("3", {"n": 3}, True),
    }


REDUNDANT = """
from llmtrace.external.moved_spans import redundant_scopes
from opentelemetry.context import Context
redundant_scopes.add("acme.listener")
AGENT = {"openinference.span.kind": "AGENT", "agent.name": "theirs"}
CALL = {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.token_count.prompt": 3}

def redundant(attributes):
    span = trace.get_tracer("acme.listener").start_span(attributes["openinference.span.kind"], Context(), attributes=attributes)
    return trace.use_span(span, end_on_exit=True)
"""


def test_who_listens_to_the_same_events_of_a_framework_adds_nothing(spans_of: Run) -> None:
    """Their spans, in a trace of their own, are left out. What is below them belongs to what was around them, in one trace; and
    a model call that only they tell of is recorded."""
    program = """
        llmtrace.configure(store=STORE)

        @llmtrace.tool
        def look_up():
            pass

        @llmtrace.agent
        def agent():
            with redundant(AGENT):
                look_up()
                with their("a query"), llmtrace.span("below it"):
                    pass
                with redundant(CALL):
                    pass

        with redundant(AGENT):
            agent()
        """
    spans = spans_of(REDUNDANT + textwrap.dedent(program))
    names = {span.span_id: name for name, span in spans.items()}
    assert {name: names.get(span.parent_id or "") for name, span in spans.items()} == {
        "invoke_agent agent": None,
        "execute_tool look_up": "invoke_agent agent",
        "a query": "invoke_agent agent",
        "below it": "a query",
        "LLM": "invoke_agent agent",
    }
    assert len({(span.trace_id, span.run_id) for span in spans.values()}) == 1
    assert isinstance(spans["LLM"].operation, Inference)
