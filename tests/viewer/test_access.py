"""Who may ask: our own page, under a name that is ours. Everybody else is told so and gets nothing."""

from __future__ import annotations

import contextlib
import socket
import stat
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urljoin

import pytest

from llmtrace.store import open_store
from llmtrace.viewer import connections, token
from llmtrace.viewer.app import Viewer, make
from llmtrace.viewer.source import Source
from tests.viewer.conftest import Served


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:4319"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "traces.evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}, 200),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}, 403),
        ({"content_length": "99999999"}, 413),
    ],
)
def test_only_the_own_page_is_answered(viewer: Served, headers: dict[str, str], status: int) -> None:
    """A name that only leads here (DNS rebinding), a foreign origin, a frame, a large body: refused, and sealed."""
    answer = viewer.ask("/api/traces", **headers)
    assert answer.status == status
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_writing_needs_the_own_page(viewer: Served) -> None:
    """A request that writes is refused without the header and the content type that only our page can set."""
    assert viewer.ask("/api/traces", method="POST").status == 403
    own = {"origin": f"http://127.0.0.1:{viewer.port}", "x_llmtrace": "1"}
    assert viewer.ask("/api/traces", method="POST", **own, content_type="text/plain").status == 415
    assert viewer.ask("/api/traces", method="POST", **own, content_type="application/json").status == 405


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_token_is_asked_for(host: str, serve: Callable[..., AbstractContextManager[Served]]) -> None:
    """The printed address holds it; it is given once, then the cookie does; without it nothing is answered."""
    with serve(open_store("memory:"), host=host) as served:
        for path in ("/", "/api/traces", "/api/info", "/static/main.js"):
            assert served.ask(path, cookie="").status == 401
        assert served.ask("/?token=wrong", cookie="").status == 401
        assert served.ask("/api/traces", cookie="llmtrace_token=wrong").status == 401
        entered = served.ask(f"/?token={served.token}", cookie="")
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert served.ask("/api/traces", cookie=cookie.partition(";")[0]).status == 200
        assert served.ask("/api/traces", authorization=f"Bearer {served.token}").status == 200


@pytest.mark.parametrize(
    "path", ["//evil.example/", "///evil.example", "/%2Fevil.example", "//evil.example:80/%2F..", "/\\\\evil.example"]
)
def test_a_redirect_stays_here(path: str, viewer: Served) -> None:
    """The token leads to a path of the viewer, whatever the path says."""
    entered = viewer.ask(f"{path}?token={viewer.token}", cookie="")
    assert entered.status == 303
    here = f"http://127.0.0.1:{viewer.port}"
    assert urljoin(here, entered.headers["location"].replace("\\", "/")).startswith(f"{here}/")


def open_connection(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: x", b"POST /api/reviews/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{"],
)
def test_a_request_must_arrive_in_time(sent: bytes, viewer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a whole request is closed, also if one more byte comes now and then, and after an answer."""
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    answered = f"GET /static/main.js HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {viewer.token}\r\n\r\n".encode()
    for before in (b"", answered):
        connection = open_connection(viewer.port, before + sent)
        began = time.monotonic()
        connection.settimeout(0.1)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 10:
                try:
                    if not connection.recv(1 << 16):
                        break
                except TimeoutError:
                    connection.sendall(b"x" if sent else b"")
        assert time.monotonic() - began < 5
        connection.close()


def test_open_connections_keep_nobody_out(viewer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half requests take the place of others that wait longer, never of one that is answered."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", 10)
    events = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {viewer.token}\r\n\r\n".encode()
    answered = open_connection(viewer.port, events)
    assert b"200 OK" in answered.recv(1 << 16)
    opened = [open_connection(viewer.port, b"GET / HTTP/1.1\r\nHost: x") for _ in range(30)]
    assert viewer.ask("/api/info").status == 200
    closed = 0
    for connection in opened:
        connection.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            try:
                closed += not connection.recv(1)
            except ConnectionError:
                closed += 1
        connection.close()
    assert closed >= 20
    answered.settimeout(20)
    assert answered.recv(1 << 16)
    answered.close()


def test_the_token_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays the same, in a file of mode 0600; one that others can read, or a link, is replaced."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tmp_path / "llmtrace" / "viewer.token"
    first = token.saved_token()
    assert (token.saved_token(), path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (first, first, 0o600)
    path.chmod(0o644)
    second = token.saved_token()
    assert second != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    planted = tmp_path / "planted"
    planted.write_text("A" * 32)
    planted.chmod(0o600)
    path.unlink()
    path.symlink_to(planted)
    assert token.saved_token() not in (first, second, "A" * 32)
    assert planted.read_text() == "A" * 32
    assert not path.is_symlink()
    assert open_store("auto").traces() == []  # the file beside it does not make a folder something else than a store


def test_without_a_home_the_token_is_new_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert token.saved_token() != token.saved_token()
    with token.landing_page("http://127.0.0.1/?token=x") as url:
        assert url == "http://127.0.0.1/?token=x"


def test_the_browser_gets_the_token_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since every user sees the arguments of a command; the file is the user's alone, and is removed."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(token, "_is_confined", lambda: False)
    with token.landing_page("http://127.0.0.1:1/?token=x#/trace/1&2") as url:
        path = Path(url.removeprefix("file://"))
        assert "token" not in url
        assert 'url=http://127.0.0.1:1/?token=x#/trace/1&amp;2"' in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_the_guard_is_around_everything() -> None:
    """The application that is served is the guard, with nothing beside it."""
    app = make(Viewer(Source(open_store("memory:"))), token="x")
    assert type(app).__name__ == "AccessGuard"
