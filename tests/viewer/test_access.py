"""Who may ask: our own page, under a name that is ours. Everybody else is told so and gets nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import parse_qs, urlsplit

import pytest

from llmtrace.store import open_store
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
    """Nothing is written here; a request that would is refused without the header that only our page can set."""
    assert viewer.ask("/api/traces", method="POST").status == 403
    own = {"origin": f"http://127.0.0.1:{viewer.port}", "x_llmtrace": "1"}
    assert viewer.ask("/api/traces", method="POST", **own).status == 405


def test_elsewhere_than_on_loopback_a_token_is_asked_for(serve: Callable[..., AbstractContextManager[Served]]) -> None:
    """The printed address holds it; it is given once, then the cookie does; what is wrong is refused."""
    store = open_store("memory:")
    with serve(store, host="0.0.0.0") as served:
        token = parse_qs(urlsplit(served.address).query)["token"][0]
        assert served.ask("/api/traces").status == 401
        assert served.ask("/?token=wrong").status == 401
        entered = served.ask(f"/?token={token}")
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert served.ask("/api/traces", cookie=cookie.partition(";")[0]).status == 200
        assert served.ask("/api/traces", authorization=f"Bearer {token}").status == 200


def test_the_guard_is_around_everything() -> None:
    """The application that is served is the guard, with nothing beside it."""
    app = make(Viewer(Source(open_store("memory:"))))
    assert type(app).__name__ == "Guard"
