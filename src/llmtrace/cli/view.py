"""``llmtrace view``: open the viewer in the browser, for a store or a file of spans, until Ctrl-C.

It listens on this machine only. Needs ``pip install "llmtrace-otel[viewer]"``. With ``--json`` the first line has the address.
See docs/how_to/viewer.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmtrace.cli.options import FINE, BadInput, json_text, port
from llmtrace.cli.stores import is_path, is_url, make_ingestor
from llmtrace.cli.terminal import Screen
from llmtrace.config import Config
from llmtrace.store import Store, open_store
from llmtrace.text.unsafe_characters import clean

NAME = "view"
HELP = "view traces in the browser: a trace, a file of spans, a store"
EXAMPLE = "llmtrace view last"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="?", help="a trace's id, its first digits or last; a file of spans; a store's folder or URL"
    )
    parser.add_argument(
        "--port", metavar="PORT", type=port, help="where to listen (default: a free one from 4319 on; 0: any free)"
    )
    parser.add_argument("--host", metavar="HOST", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--receive", action="store_true", help="also receive spans by OTLP, from programs in any language")
    parser.add_argument(
        "--http-port", metavar="PORT", type=port, default=4318, help="with --receive, OTLP over HTTP (default: 4318)"
    )
    parser.add_argument("--grpc-port", metavar="PORT", type=port, help="with --receive, OTLP over gRPC (default: not at all)")


def run(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("starlette") is None or importlib.util.find_spec("uvicorn") is None:
        raise BadInput('two more packages are needed.\nInstall them: pip install "llmtrace-otel[viewer]"')
    from llmtrace.viewer.serving import Serving
    from llmtrace.viewer.source import Source
    from llmtrace.viewer.token import landing_page

    config = Config.read(store=args.store)
    screen = Screen(sys.stdout)
    with _store(args, config, screen) as (store, name, trace_id), _receiving(args, store, config) as received:
        facts: dict[str, Any] = {"store": name, "receive": received}
        serving = Serving(Source(store), host=args.host, port=args.port, facts=facts)
        address = serving.address + (f"#/trace/{trace_id}" if trace_id else "")
        with landing_page(address) as page:
            serving.run(lambda: _ready(args, screen, address, page, name, received))
    return FINE


def _ready(args: argparse.Namespace, screen: Screen, address: str, page: str, name: str, received: str | None) -> None:
    if args.json:
        screen.line(json_text({"address": address, "store": name, "receive": received}))
    else:
        screen.line(f"viewer   {screen.paint(address, 'cyan')}")
        screen.line(f"store    {name}")
        if received is not None:
            screen.line(f"OTLP     {received}   (export OTEL_EXPORTER_OTLP_ENDPOINT={received})")
        screen.line("Press Ctrl-C to stop", "dim")
    screen.stream.flush()
    if not args.no_browser:  # in a thread: importing webbrowser would delay the viewer
        threading.Thread(target=lambda: importlib.import_module("webbrowser").open(page), daemon=True).start()


@contextlib.contextmanager
def _store(args: argparse.Namespace, config: Config, screen: Screen) -> Iterator[tuple[Store, str, str | None]]:
    """Yield the store, its name on screen, and the id of the trace to show first. Raises BadInput, StoreError."""
    what, trace_id = args.what, None
    if what is not None and Path(what).is_file():
        yield _file(what, config, screen), what, None
        return
    if what is not None and (is_url(what) or Path(what).is_dir()):
        url = what
    elif what is not None and is_path(what):
        raise BadInput(f"no file or folder {what}.\nGive a trace id, a file of spans, or a store's folder or URL.")
    elif config.store == "off":
        raise BadInput("the store is off (LLMTRACE_STORE=off).\nName the store to read with --store FOLDER.")
    else:
        url = config.store
        trace_id = what
    with open_store(url, config=config) as store:
        if trace_id is not None:
            trace_id = store.summary(trace_id).trace_id
        yield store, str(store.folder) if url == "auto" else url, trace_id


def _file(path: str, config: Config, screen: Screen) -> Store:
    """Return a store with the traces of a file.

    Traces of other instrumentations are evaluated. Unfinished spans count as interrupted.
    """
    from llmtrace.cli.read_spans import traces_of  # imports every dialect, which viewing a store does not need
    from llmtrace.codec import genai
    from llmtrace.codec.formats import Unreadable
    from llmtrace.content import Content
    from llmtrace.evaluation import evaluate_trace
    from llmtrace.store.memory import Spans, SpansStore

    bad: list[Unreadable] = []
    content, stored = Content(config), Spans()
    traces = traces_of(path, bad)
    if not traces:
        raise BadInput(f"{path} contains no spans, but log records.")
    for trace in traces:
        is_external = any(span.run_id is None for span in trace.spans)
        for span in evaluate_trace(trace)[0].spans if is_external else trace.spans:
            stored.add(content.write(span) if span.run_id is None else genai.encode(span))
    if bad:
        screen.line(
            clean(f"{path}, {bad[0].where}: {bad[0].reason}; left out" + (f", and {len(bad) - 1} more" if bad[1:] else ""))
        )
    return SpansStore(stored)


@contextlib.contextmanager
def _receiving(args: argparse.Namespace, store: Store, config: Config) -> Iterator[str | None]:
    """Receive spans in the ``with`` block if ``--receive`` is given. Yields the URL that accepts OTLP, else None.

    Raises PortBusy.
    """
    if not args.receive:
        yield None
        return
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from llmtrace.receiver import Receiver

    with Receiver(make_ingestor(store, config), http_port=args.http_port, grpc_port=args.grpc_port) as receiver:
        yield f"http://127.0.0.1:{receiver.http_port}"
