"""A store for `llmtrace view FILE`: the traces of a file, read once into memory. Unfinished spans count as interrupted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.codec import genai
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Span, Trace
from llmtrace.store import NEWEST, Query, Store
from llmtrace.store.memory import Spans
from llmtrace.store.summary import TraceSummary


class FileStore(Store):
    """The spans of a file. Traces of other instrumentations are evaluated first."""

    def __init__(self, spans: Iterable[Span], config: Config) -> None:
        content = Content(config)
        by_trace: dict[str, list[Span]] = {}
        for span in spans:
            by_trace.setdefault(span.trace_id, []).append(span)
        self._spans = Spans()
        for trace_spans in by_trace.values():
            external = any(span.run_id is None for span in trace_spans)
            evaluated = evaluate_trace(Trace(trace_spans))[0].spans if external else trace_spans
            for span in evaluated:
                self._spans.add(genai.encode(content.clean(span) if span.run_id is None else span))

    def append(self, span: Span) -> None:
        self._spans.add(genai.encode(span))

    def traces(self, query: Query = NEWEST) -> list[TraceSummary]:
        return self._spans.traces(query)

    def trace(self, trace_id: str) -> Trace:
        return self._spans.trace(trace_id)

    def spans(self, query: Query = NEWEST, *, prompts: bool = True) -> Iterator[Span]:
        for trace_id in self._spans.ids(query):
            yield from self._spans.spans_of(trace_id, prompts=prompts)
