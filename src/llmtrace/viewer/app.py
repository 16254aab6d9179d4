"""The viewer's pages and JSON interface, over one `Source`.

Only ``POST`` changes anything: to ``/api/reviews/ID`` and ``/api/traces/ID/feedback``."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

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
from llmtrace.viewer import issues_page, page
from llmtrace.viewer.access import AccessGuard
from llmtrace.viewer.js_numbers import dumps
from llmtrace.viewer.review_queue import STATUS, Refused, ReviewQueue
from llmtrace.viewer.source import Source
from llmtrace.viewer.trace_view import TraceView
from llmtrace.viewer.watch import Follower

Content: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""Content of a JSON answer: an object or a list."""

STATIC = page.STATIC
POLL_SECONDS = 0.08
MOST_SPANS = 64
"""Maximum number of payloads in one answer."""
MOST_TRACES = 200
_LAST = (1 << 63) - 1
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Viewer:
    """Answers all requests. ``facts``: facts about the store and the receiver that the page shows."""

    def __init__(self, source: Source, *, facts: dict[str, Any] | None = None) -> None:
        self._source = source
        offered = [
            {"name": filter_.name, "help": filter_.help, "metavar": filter_.metavar, "choices": list(filter_.choices)}
            for filter_ in filters.FILTERS
        ]
        self._facts = {"version": __version__, "live": True, "filters": offered} | (facts or {})
        self._queue = ReviewQueue(source)
        self._listeners: set[asyncio.Queue[dict[str, Any]]] = set()
        self.closing = False

    def routes(self) -> list[Route]:
        trace, review = "/api/traces/{trace}", "/api/reviews/{review}"
        return [
            Route("/", lambda _: FileResponse(STATIC / "index.html", media_type="text/html")),
            Route("/issues", self._issues),
            Route("/static/{name}", lambda request: _file(STATIC, request)),
            Route("/static/vendor/{name}", lambda request: _file(STATIC / "vendor", request)),
            _get("/api/info", lambda _: self._facts | {"reviews": self._queue.waiting()}),
            Route("/api/events", self._events),
            _get("/api/traces", lambda request: self._source.traces(_query(request), max(0, _number(request, "offset", 0)))),
            _get("/api/sessions", lambda request: self._source.sessions(_query(request))),
            _get("/api/names", lambda request: self._source.store.names(_text(request, "kind"))),
            _get("/api/compare", lambda request: self._source.compared(_text(request, "left"), _text(request, "right"))),
            _get("/api/time", self._over_time),
            _get("/api/drift", lambda request: self._source.drift(*_period(request))),
            _get("/api/suspicions", lambda request: self._source.suspicions(_ids(request, "traces"))),
            _get("/api/reviews", self._reviews),
            _get(review, lambda request: self._queue.review(_review_id(request), brief=_text(request, "brief") == "1")),
            _post(review, lambda request, body: self._queue.decide(_review_id(request), body)),
            _get(trace, lambda request: self._trace_view(request).rows(_number(request, "after", 0))),
            _get(f"{trace}/payloads", lambda request: self._trace_view(request).payloads(_ids(request, "spans"))),
            _get(f"{trace}/origins", lambda request: self._trace_view(request).origins(_ids(request, "spans"))),
            _get(f"{trace}/history", lambda request: self._trace_view(request).history(_text(request, "span"))),
            _get(f"{trace}/reached", lambda request: self._trace_view(request).reached(_text(request, "span"))),
            _get(f"{trace}/diagnosis", lambda request: self._trace_view(request).diagnosis),
            _get(f"{trace}/search", lambda request: self._trace_view(request).search(_text(request, "q"))),
            Route(f"{trace}/page", self._page),
            _post(f"{trace}/feedback", self._feedback),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        following = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            following.cancel()

    # -- answers

    def _over_time(self, request: Request) -> Content:
        from llmtrace.statistics import PARTS  # its import takes a tenth of a second
        from llmtrace.viewer.trends import DAY, MINUTE

        by = _text(request, "by") or "model"
        if by not in PARTS:
            raise HTTPException(400, f"parameter 'by' must be one of {', '.join(PARTS)}")
        size, offset = max(MINUTE, _number(request, "size", DAY)), _number(request, "offset", 0)
        seconds = max(1, _number(request, "seconds", 60))
        return self._source.over_time(*_period(request), by, size, offset, seconds)

    def _trace_view(self, request: Request) -> TraceView:
        return self._source.trace_view(_trace_id(request))

    def _issues(self, _: Request) -> Response:
        return Response(issues_page.write(*self._source.issues()), media_type="text/html")

    def _page(self, request: Request) -> Response:
        html = page.write(self._trace_view(request))
        headers = {"content-disposition": f'attachment; filename="trace-{short_id(_trace_id(request))}.html"'}
        return Response(html, media_type="text/html", headers=headers)

    def _feedback(self, request: Request, body: bytes) -> Content:
        from llmtrace.viewer import ratings  # imports redaction, which reading does not need

        return ratings.rate(self._source.store, _trace_id(request), body)

    def _reviews(self, request: Request) -> Content:
        span, before = _text(request, "span"), _text(request, "before")
        if span:
            return self._queue.of_span(span)
        if _text(request, "given_up") == "1":
            from llmtrace.viewer import letter_list  # imports redaction and diagnosis

            return letter_list.letters(self._source)
        try:
            earlier = float(before) / 1e3 if before else float("inf")
        except ValueError:
            raise HTTPException(400, "parameter 'before' must be a number") from None
        limit = max(1, min(_number(request, "limit", 100), MOST_TRACES))
        return self._queue.page(decided=_text(request, "decided") == "1", before=earlier, limit=limit)

    # -- changes

    async def _follow(self) -> None:
        follower = await run_in_threadpool(Follower, self._source)
        while not self.closing:
            await asyncio.sleep(POLL_SECONDS)
            if await run_in_threadpool(self._queue.has_changed):
                self._tell({"reviews": await run_in_threadpool(self._queue.waiting)})
            if follower.is_remote and not self._listeners:  # no page is open: do not burden a remote store
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
                        yield b": still here\n\n"  # an SSE comment, which keeps an idle connection open
                    continue
                yield b"data: " + dumps(news) + b"\n\n"
        finally:
            self._listeners.discard(mine)


def make(viewer: Viewer, *, token: str, hosts: Iterable[str] = ()) -> AccessGuard:
    """Return the ASGI application, behind its access checks."""
    app = Starlette(routes=viewer.routes(), lifespan=viewer.lifespan, exception_handlers=_HANDLERS)
    return AccessGuard(app, hosts=hosts, token=token)


def _file(folder: Path, request: Request) -> Response:
    path = folder / Path(request.path_params["name"]).name
    if path.suffix not in _TYPES or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, media_type=_TYPES[path.suffix])


def _json(content: Content, status: int = 200) -> Response:
    return Response(dumps(content), status, media_type="application/json")


def _get(path: str, work: Callable[[Request], Content]) -> Route:
    """Return a route whose GET requests ``work`` answers with JSON. Starlette runs ``work`` in a thread."""
    return Route(path, lambda request: _json(work(request)))


def _post(path: str, work: Callable[[Request, bytes], Content]) -> Route:
    """Return a route whose POST requests ``work`` answers with JSON, in a thread. It gets the request and its body."""

    async def answer(request: Request) -> Response:
        return _json(await run_in_threadpool(work, request, await request.body()))

    return Route(path, answer, methods=["POST"])


def _refusal(_: Request, error: Exception) -> Response:
    """Return an error as JSON: a sentence, its kind, and the faults of an edit."""
    status, kind, text = 503, "store", str(error)
    faults: Sequence[Mapping[str, str]] = ()
    if isinstance(error, Refused):
        status, kind, faults = error.status, error.kind, error.faults
    elif isinstance(error, ReviewConflict):
        status, kind = STATUS[error.kind], error.kind
    elif isinstance(error, HTTPException):
        status, kind, text = error.status_code, "malformed", error.detail
    elif isinstance(error, KeyError):
        status, kind, text = 404, "unknown", "the trace has no span with this id"
    elif isinstance(error, TraceNotFound):
        status, kind = 404, "unknown"
    elif not isinstance(error, StoreError):
        text = f"the store cannot be read or written, so that nothing was changed: {error}"
    return _json({"error": f"{text[:1].upper()}{text[1:].rstrip('.')}.", "kind": kind, "faults": faults}, status)


_HANDLERS: dict[Any, Any] = dict.fromkeys(
    (Refused, ReviewConflict, HTTPException, KeyError, StoreError, sqlite3.Error, OSError), _refusal
)


def _text(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()


def _query(request: Request) -> Query:
    """Read the filters and the order from a URL's parameters, which have the names of `filters`. Raises HTTPException."""
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


def _period(request: Request) -> tuple[int, int]:
    return _number(request, "since", 0), _number(request, "until", _LAST)


def _ids(request: Request, name: str) -> list[str]:
    return [item for item in _text(request, name).split(",") if item][:MOST_SPANS]


def _trace_id(request: Request) -> str:
    return str(request.path_params["trace"])


def _review_id(request: Request) -> str:
    return str(request.path_params["review"])
