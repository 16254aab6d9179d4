"""context, wrap, inject, extract: what reaches the spans below, and what does not leave."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import llmtrace
from llmtrace.testing import capture


@llmtrace.span
def leaf() -> None: ...


def test_context_reaches_every_span_below_and_nests() -> None:
    """Inner values win, tags add up, and nothing is left behind after the block."""
    with capture() as captured:
        with llmtrace.context(user="u1", conversation="c1", tags=["a"], plan="pro"):
            with llmtrace.context(user="u2", tags=["b", "a"]):
                leaf()
            leaf()
        leaf()
    inner, outer, after = (dict(span.attributes) for span in captured.spans)
    assert inner == {
        "user.id": "u2",
        "gen_ai.conversation.id": "c1",
        "llmtrace.tags": ["a", "b"],
        "llmtrace.context.plan": "pro",
    }
    assert outer["user.id"] == "u1"
    assert after == {}


def test_wrap_keeps_the_parent_in_threads() -> None:
    """Parallel work in a pool belongs to the span that handed it out; the pool's threads keep nothing."""
    with capture() as captured, ThreadPoolExecutor(2) as pool:
        with llmtrace.workflow("w"), llmtrace.context(user="u"):
            for future in [pool.submit(llmtrace.wrap(leaf)) for _ in range(4)]:
                future.result()
        pool.submit(leaf).result()
    workflow = next(span for span in captured.spans if span.name == "invoke_workflow w")
    below = [span for span in captured.spans if span.parent_id == workflow.span_id]
    assert len(below) == 4
    assert {span.attributes["user.id"] for span in below} == {"u"}
    assert [span.attributes for span in captured.spans if span.name == "leaf" and span.parent_id is None] == [{}]


def test_wrap_gives_back_what_the_function_returns() -> None:
    """wrap changes nothing but the context."""
    assert llmtrace.wrap(divmod)(7, 2) == (3, 1)


def test_inject_and_extract_join_processes() -> None:
    """What inject wrote continues the trace elsewhere, with user, conversation and tags; the run is a new one."""
    with capture() as captured:
        with llmtrace.workflow("here"), llmtrace.context(user="ü,=;", conversation="c", tags=["a b", "c"]):
            carrier = dict(llmtrace.inject())
        environment = {name.upper(): given for name, given in carrier.items()}

        def elsewhere() -> None:
            with llmtrace.extract(environment):
                leaf()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    [here] = [span for span in captured.spans if span.name == "invoke_workflow here"]
    [there] = [span for span in captured.spans if span.name == "leaf"]
    assert (there.trace_id, there.parent_id) == (here.trace_id, here.span_id)
    assert there.run_id != here.run_id
    assert there.attributes["user.id"] == "ü,=;"
    assert there.attributes["llmtrace.tags"] == ["a b", "c"]


def test_extract_of_garbage_is_harmless() -> None:
    """Headers that mean nothing start a trace of their own."""
    with capture() as captured, llmtrace.extract({"traceparent": "00-zz-1", "baggage": ",=,llmtrace.%zz=1;p"}):
        leaf()
    assert captured.spans[0].parent_id is None
