"""The viewer's pages and JSON interface, over one `Source`. Only ``POST`` changes anything: to
``/api/reviews/ID`` and ``/api/traces/ID/feedback``."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from llmtrace.errors import ReviewConflict, StoreError, TraceNotFound
from llmtrace.model.traces import short_id
from llmtrace.store import Query, filters
from llmtrace.version import __version__
from llmtrace.viewer import letter_list, page
from llmtrace.viewer.access import AccessGuard
from llmtrace.viewer.js_numbers import dumps
from llmtrace.viewer.payload import Payload
from llmtrace.viewer.review_queue import STATUS, ReviewQueue
from llmtrace.viewer.source import Source
from llmtrace.viewer.trace_view import TraceView
from llmtrace.viewer.watch import Follower

T = TypeVar("T")
Content: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""What is answered as JSON: an object or a list."""

STATIC = page.STATIC
POLL_SECONDS = 0.08
MOST_SPANS = 64
"""Payloads in one answer."""
MOST_TRACES = 200
_LAST = (1 << 63) - 1
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Viewer:
    """Answers all requests. ``facts``: what the page shows about the store and the receiver."""

    def __init__(self, source: Source, *, facts: dict[str, Any] | None = None, poll: float = POLL_SECONDS) -> None:
        self._source = source
        self._facts = {"version": __version__, "live": True, "filters": _filters()} | (facts or {})
        self._poll = poll
        self._queue = ReviewQueue(source)
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()
        self.closing = False

    def routes(self) -> list[Route]:
        trace_path = "/api/traces/{trace}"
        return [
            Route("/", _index),
            Route("/static/{name}", _static),
            Route("/static/vendor/{name}", _vendored),
            Route("/api/info", self._info),
            Route("/api/events", self._events),
            Route("/api/traces", self._traces),
            Route("/api/sessions", self._sessions),
            Route("/api/names", self._names),
            Route("/api/compare", self._compare),
            Route("/api/time", self._over_time),
            Route("/api/drift", self._drift),
            Route("/api/suspicions", self._suspicions),
            Route("/api/reviews", self._reviews),
            Route("/api/reviews/{review}", self._review, methods=["GET", "POST"]),
            Route(trace_path, self._answer(self._rows)),
            Route(f"{trace_path}/payloads", self._answer(self._payloads)),
            Route(f"{trace_path}/origins", self._answer(self._origins)),
            Route(
                f"{trace_path}/history",
                self._answer(lambda trace, request: self._trace_view(trace).history(_text(request, "span"))),
            ),
            Route(
                f"{trace_path}/reached",
                self._answer(lambda trace, request: self._trace_view(trace).reached(_text(request, "span"))),
            ),
            Route(f"{trace_path}/diagnosis", self._answer(lambda trace, _: self._trace_view(trace).diagnosis())),
            Route(f"{trace_path}/search", self._answer(self._search)),
            Route(f"{trace_path}/page", self._page),
            Route(f"{trace_path}/feedback", self._feedback, methods=["POST"]),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()

    # -- answers

    async def _info(self, _: Request) -> Response:
        return _json(self._facts | {"reviews": await run_in_threadpool(self._queue.waiting)})

    async def _traces(self, request: Request) -> Response:
        query = _query(request)
        return await _in_thread(lambda: self._source.traces(query, max(0, _number(request, "offset", 0))))

    async def _sessions(self, request: Request) -> Response:
        query = _query(request)
        return await _in_thread(lambda: self._source.sessions(query))

    async def _names(self, request: Request) -> Response:
        return await _in_thread(lambda: self._source.store.names(_text(request, "kind")))

    async def _suspicions(self, request: Request) -> Response:
        wanted = [trace_id for trace_id in _text(request, "traces").split(",") if trace_id][:MOST_SPANS]
        return await _in_thread(lambda: self._source.suspicions(wanted))

    async def _compare(self, request: Request) -> Response:
        return await _in_thread(lambda: self._source.compared(_text(request, "left"), _text(request, "right")))

    async def _over_time(self, request: Request) -> Response:
        from llmtrace.statistics import PARTS  # takes a tenth of a second, with ClickHouse's SQL
        from llmtrace.viewer.trends import DAY, MINUTE

        by = _text(request, "by") or "model"
        if by not in PARTS:
            raise HTTPException(400, f"parameter 'by' must be one of {', '.join(PARTS)}")
        size, offset = max(MINUTE, _number(request, "size", DAY)), _number(request, "offset", 0)
        since, until = _number(request, "since", 0), _number(request, "until", _LAST)
        seconds = max(1, _number(request, "seconds", 60))
        return await _in_thread(lambda: self._source.over_time(since, until, by, size, offset, seconds))

    async def _drift(self, request: Request) -> Response:
        since, until = _number(request, "since", 0), _number(request, "until", _LAST)
        return await _in_thread(lambda: self._source.drift(since, until))

    def _answer(self, work: Callable[[str, Request], Content]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await _in_thread(lambda: work(request.path_params["trace"], request))

        return answer

    def _trace_view(self, trace_id: str) -> TraceView:
        return self._source.trace_view(trace_id)

    def _rows(self, trace_id: str, request: Request) -> dict[str, Any]:
        return self._source.rows(trace_id, _number(request, "after", 0), request.query_params.get("around"))

    def _payloads(self, trace_id: str, request: Request) -> dict[str, Payload]:
        return self._source.payloads(trace_id, _spans(request))

    def _origins(self, trace_id: str, request: Request) -> dict[str, list[dict[str, Any]]]:
        return self._trace_view(trace_id).origins(_spans(request))

    def _search(self, trace_id: str, request: Request) -> list[str]:
        return self._trace_view(trace_id).search(_text(request, "q"))

    async def _page(self, request: Request) -> Response:
        trace_id = request.path_params["trace"]
        html = await _guarded(lambda: page.write(self._trace_view(trace_id)))
        headers = {"content-disposition": f'attachment; filename="trace-{short_id(trace_id)}.html"'}
        return Response(html, media_type="text/html", headers=headers)

    async def _feedback(self, request: Request) -> Response:
        body = await request.body()
        from llmtrace.viewer import ratings  # with redaction

        try:
            return await _in_thread(lambda: ratings.rate(self._source.store, request.path_params["trace"], body))
        except ratings.Refused as refused:
            return _json({"error": str(refused)}, refused.status)

    # -- reviews

    async def _reviews(self, request: Request) -> Response:
        span, before = _text(request, "span"), _text(request, "before")
        if span:
            return await _answer_review(lambda: self._queue.of_span(span))
        if _text(request, "given_up") == "1":
            return await _in_thread(lambda: letter_list.letters(self._source))
        try:
            earlier = float(before) / 1e3 if before else float("inf")
        except ValueError:
            raise HTTPException(400, "parameter 'before' must be a number") from None
        limit = max(1, min(_number(request, "limit", 100), MOST_TRACES))
        decided = _text(request, "decided") == "1"
        return await _answer_review(lambda: self._queue.page(decided=decided, before=earlier, limit=limit))

    async def _review(self, request: Request) -> Response:
        review_id = request.path_params["review"]
        if request.method != "POST":
            return await _answer_review(lambda: self._queue.review(review_id, brief=_text(request, "brief") == "1"))
        body = await request.body()
        return await _answer_review(lambda: self._queue.decide(review_id, body), lambda: self._queue.faults(review_id, body))

    # -- changes

    async def _follow(self) -> None:
        follower = await run_in_threadpool(Follower, self._source)
        while not self.closing:
            await asyncio.sleep(self._poll)
            if await run_in_threadpool(self._queue.has_changed):
                self._tell({"reviews": await run_in_threadpool(self._queue.waiting)})
            if follower.is_remote and not self._listeners:
                continue
            try:
                changed = await run_in_threadpool(follower.poll)
            except (StoreError, OSError):
                continue
            if changed is None or changed:
                self._tell({"traces": None if changed is None else sorted(changed)})

    def _tell(self, news: dict[str, Any]) -> None:
        for listener in self._listeners:
            listener.put_nowait(news)

    async def _events(self, _: Request) -> Response:
        return StreamingResponse(self._event_stream(), media_type="text/event-stream")

    async def _event_stream(self) -> AsyncIterator[bytes]:
        mine: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._listeners.add(mine)
        try:
            yield b"retry: 1000\n\ndata: {}\n\n"
            idle = 0
            while not self.closing:
                try:
                    news = await asyncio.wait_for(mine.get(), 0.5)
                except asyncio.TimeoutError:
                    idle += 1
                    if idle % 20 == 0:
                        yield b": still here\n\n"
                    continue
                yield b"data: " + dumps(news) + b"\n\n"
        finally:
            self._listeners.discard(mine)


def make(viewer: Viewer, *, token: str, hosts: Iterable[str] = ()) -> AccessGuard:
    """The ASGI application, behind its access checks."""
    return AccessGuard(Starlette(routes=viewer.routes(), lifespan=viewer.lifespan), hosts=hosts, token=token)


async def _index(_: Request) -> Response:
    return FileResponse(STATIC / "index.html", media_type="text/html")


async def _static(request: Request) -> Response:
    return _file(STATIC / Path(request.path_params["name"]).name)


async def _vendored(request: Request) -> Response:
    return _file(STATIC / "vendor" / Path(request.path_params["name"]).name)


def _file(path: Path) -> Response:
    if path.suffix not in _TYPES or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, media_type=_TYPES[path.suffix])


def _json(content: Content, status: int = 200) -> Response:
    return Response(dumps(content), status, media_type="application/json")


async def _in_thread(work: Callable[[], Content]) -> Response:
    return Response(await _guarded(lambda: dumps(work())), media_type="application/json")


async def _answer_review(work: Callable[[], Content], faults: Callable[[], Content] = tuple) -> Response:
    """As `_in_thread`, with what is wrong as JSON, too: a sentence, the kind of the conflict, and the faults of an edit."""
    try:
        return _json(await run_in_threadpool(work))
    except ReviewConflict as conflict:
        found = await run_in_threadpool(faults) if conflict.kind == "invalid" else []
        return _json({"error": _sentence(conflict), "kind": conflict.kind, "faults": found}, STATUS[conflict.kind])
    except ValueError as error:
        return _json({"error": _sentence(error), "kind": "malformed", "faults": []}, 400)
    except (sqlite3.Error, OSError) as error:
        text = f"The store's folder cannot be read or written, so that nothing was decided: {error}."
        return _json({"error": text, "kind": "store", "faults": []}, 503)


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


async def _guarded(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread. Raises HTTPException with a message of one line."""
    try:
        return await run_in_threadpool(work)
    except TraceNotFound as error:
        raise HTTPException(404, str(error)) from None
    except KeyError:
        raise HTTPException(404, "the trace has no span with this id") from None
    except (StoreError, sqlite3.Error, OSError) as error:
        raise HTTPException(503, str(error)) from None


def _text(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()


def _filters() -> list[dict[str, Any]]:
    """The filters, as the page offers them."""
    return [
        {"name": filter_.name, "help": filter_.help, "metavar": filter_.metavar, "choices": list(filter_.choices)}
        for filter_ in filters.FILTERS
    ]


def _query(request: Request) -> Query:
    """The filters and the order in an address, by the names of `filters`. Raises HTTPException."""
    values: dict[str, Any] = {}
    for filter_ in filters.FILTERS:
        if text := _text(request, filter_.name):
            try:
                values[filter_.name] = filter_.parse(text)
            except ValueError as error:
                raise HTTPException(400, f"parameter {filter_.name!r}: {error}") from None
    sort = _text(request, "sort") or "age"
    if sort not in filters.SORTS:
        raise HTTPException(400, f"parameter 'sort' must be one of {', '.join(filters.SORTS)}")
    limit = max(1, min(_number(request, "limit", 100), MOST_TRACES))
    return Query(
        limit=limit, text=_text(request, "text") or None, sort=sort, reverse=_text(request, "reverse") == "1", **values
    )


def _number(request: Request, name: str, default: Any) -> Any:
    parameter = _text(request, name)
    if not parameter:
        return default
    try:
        number = int(parameter)
    except ValueError:
        number = 1 << 63
    if abs(number) >= 1 << 63:
        raise HTTPException(400, f"parameter {name!r} must be a number, got {parameter[:40]!r}")
    return number


def _spans(request: Request) -> list[str]:
    return [span for span in _text(request, "spans").split(",") if span][:MOST_SPANS]
