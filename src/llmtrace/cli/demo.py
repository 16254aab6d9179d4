"""``llmtrace demo``: a support agent and two customers, one of whom gets somebody else's refund. llmtrace shows why.

The agent is in `llmtrace.demo.agent`; the model is scripted (`llmtrace.demo.script`) and served on this machine. If
OPENAI_BASE_URL is set, ``--model`` runs the same agent with that server.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import llmtrace
from llmtrace.cli import format_text, why
from llmtrace.cli.options import FINE, BadInput, print_json
from llmtrace.cli.terminal import Screen
from llmtrace.demo.server import MODEL, ModelServer
from llmtrace.demo.shop import BAD_TASK, GOOD_TASK, MADE_UP, ORDERS, RIGHT
from llmtrace.diagnosis import diagnose
from llmtrace.model import Trace
from llmtrace.store import Query, locks, open_store
from llmtrace.store.local import default_folder

NAME = "demo"
HELP = "watch an agent fail silently, and llmtrace find the cause"
EXAMPLE = "OPENAI_BASE_URL=http://localhost:8000/v1 llmtrace demo --model my-model"

# USD per million tokens, as for a small hosted model, so that the demo has a cost to show
_PRICES = {MODEL: {"input": 0.15, "output": 0.6}}

_NEXT = (
    ("ls", "both conversations"),
    ("show", "the last one, step by step"),
    ("check", "what the quality signals say"),
    ("doctor", "whether tracing will work here"),
)


class Conversation(NamedTuple):
    task: str
    answer: str
    trace: Trace


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="model to ask for, with OPENAI_BASE_URL (default: a scripted one)")
    parser.add_argument("--review", action="store_true", help="the second customer again, and you decide before the refund")


def run(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("openai") is None:
        raise BadInput("the demo's agent needs the openai package.\nInstall it: pip install openai")
    screen = Screen(sys.stdout)
    store = args.store or os.environ.get("LLMTRACE_STORE", "")
    if store in ("", "off"):
        store = _folder(permanent=not store)
    with _server(args.model) as (url, model):
        if args.review:
            return _second_act(args, screen, url, model, store)
        if not args.json:
            talks_to = "a scripted model on this machine: no key, no network" if model == MODEL else f"the model at {url}"
            screen.prose(f"A shop's support agent answers two customers. It uses the openai client and talks to {talks_to}.")
            screen.line()
        conversations = []
        for number, task in enumerate((GOOD_TASK, BAD_TASK), 1):
            conversations.append(_talk(task, url, model, store))
            if not args.json:
                screen.labelled(f"{number}. customer  ", task)
                screen.labelled("   agent     ", conversations[-1].answer, "bold")
                screen.line()
    if args.json:
        shown = [
            {"trace_id": conversation.trace.trace_id, "task": conversation.task, "answer": conversation.answer}
            for conversation in conversations
        ]
        diagnosis = diagnose(conversations[-1].trace)
        print_json({"store": store, "conversations": shown, "diagnosis": format_text.diagnosis_as_json(diagnosis)})
    else:
        _reveal(screen, conversations[-1].trace, store, scripted=model == MODEL)
    return FINE


@contextmanager
def _server(model: str | None) -> Iterator[tuple[str, str]]:
    """Yield the URL and the model: of the user's server if OPENAI_BASE_URL is set, else of the scripted one."""
    url = os.environ.get("OPENAI_BASE_URL")
    if not url:
        if model not in (None, MODEL):
            raise BadInput(
                f"--model {model} needs a server.\nSet OPENAI_BASE_URL, or leave out --model to use the scripted model."
            )
        with ModelServer() as server:
            yield server.url, MODEL
        return
    if not model:
        raise BadInput("OPENAI_BASE_URL is set, but --model is missing.\nAdd --model NAME, or unset OPENAI_BASE_URL.")
    if not os.environ.get("OPENAI_API_KEY"):
        raise BadInput("OPENAI_API_KEY is not set.\nSet it; a local server accepts any value.")
    yield url, model


def _second_act(args: argparse.Namespace, screen: Screen, url: str, model: str, store: str) -> int:
    """Run the second customer's conversation, with a refund that waits for a person."""
    suffix, program = _suffix(store), _program()
    if not args.json:
        screen.prose('The same agent, with one option more: @llmtrace.tool(review="when ungrounded").')
        screen.labelled("   customer  ", BAD_TASK)
        screen.line()
        screen.prose(f"It wants to refund {MADE_UP}, which nobody mentioned, so the call waits for you. Ada's is {RIGHT}.")
        for command, where in (("review", "here, in another terminal"), ("view", "in the browser: Reviews")):
            screen.line(f"  {screen.paint(f'{program} {command}{suffix}', 'cyan')}   {where}")
        screen.line()
        screen.stream.flush()
    conversation = _talk(BAD_TASK, url, model, store, reviewed=True)
    if args.json:
        print_json({"store": store, "trace_id": conversation.trace.trace_id, "answer": conversation.answer})
        return FINE
    screen.labelled("   agent     ", conversation.answer, "bold")
    screen.line()
    screen.line(
        f"  {screen.paint(f'{program} show{suffix}', 'cyan')}   the whole run: what it wanted, what you decided, what ran"
    )
    return FINE


def _suffix(store: str) -> str:
    return "" if store == str(default_folder()) else f" --store {store}"


def _talk(task: str, url: str, model: str, store: str, *, reviewed: bool = False) -> Conversation:
    """Run the agent on one customer's mail. Raises BadInput if the server does not answer."""
    import openai  # only the demo calls a provider's SDK; no other part of llmtrace needs it installed

    from llmtrace.demo.agent import support_agent

    scripted = model == MODEL
    llmtrace.configure(store=store, content="local", instrument=["openai"], prices=_PRICES if scripted else None)
    offline: dict[str, Any] = {"api_key": "none", "http_client": openai.DefaultHttpxClient(trust_env=False)}  # no proxy
    client = openai.OpenAI(base_url=url, **(offline if scripted else {}))
    try:
        answer = support_agent(client, model, reviewed=reviewed)(task)
    except openai.OpenAIError as error:
        raise BadInput(
            f"the model {model} at {url} did not answer: {error}\nCheck OPENAI_BASE_URL, OPENAI_API_KEY and --model."
        ) from error
    finally:
        client.close()
        llmtrace.shutdown()
    with open_store(store) as reader:
        trace_ids = [summary.trace_id for summary in reader.traces(Query(limit=10, agent="support")) if summary.task == task]
        return Conversation(task, answer, reader.trace(next(iter(trace_ids), "last")))


def _folder(*, permanent: bool) -> str:
    """Return the folder of the store. It is the default one, which later commands read, if that is writable and ``permanent``.

    Otherwise it is a temporary folder.
    """
    folder = default_folder() if permanent else None
    try:
        if folder is None:
            raise OSError
        locks.make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            return str(folder)
    except OSError:
        return tempfile.mkdtemp(prefix="llmtrace-demo-")


def _reveal(screen: Screen, trace: Trace, store: str, *, scripted: bool) -> None:
    if scripted:
        owner = ORDERS[MADE_UP]["customer"]
        screen.prose(
            "Two friendly answers. No tool failed, no exception was raised, and both runs look fine from outside. "
            f"But Ada never gave an order number, and {MADE_UP} is {owner}'s. Where did it come from?"
        )
    else:
        screen.prose("Ada never gave an order number. This is what your model did:")
    suffix, program = _suffix(store), _program()
    screen.line()
    screen.line(f"$ {program} why{suffix}", "cyan")
    screen.line()
    why.show(screen, trace, diagnose(trace), top=1)
    screen.line()
    screen.line("Now look around:", "bold")
    room = len(program) + len(suffix) + 10
    has_viewer = importlib.util.find_spec("starlette") is not None
    for command, purpose in (*_NEXT, *([("view", "the same in the browser")] if has_viewer else [])):
        called = f"{program} {command}{suffix}".ljust(room)
        screen.line(f"  {screen.paint(called, 'cyan')}{purpose if room + 34 <= screen.width else ''}")
    if scripted:
        screen.line("Correct the order number, and run the agent again from there:", "bold")
        right = f"--set look_up/order_id={RIGHT} --check 'grep -q {RIGHT}'"
        for line in (
            f"{program} why --prove{suffix} \\",
            f"  {right} \\",
            f"  --tool look_up=live --tool refund=live -- {program} demo",
        ):
            screen.line(f"  {screen.paint(line, 'cyan')}")
    screen.line("Decide yourself before the refund is made:", "bold")
    screen.line(f"  {screen.paint(f'{program} demo --review{suffix}', 'cyan')}")
    agent = Path(importlib.util.find_spec("llmtrace.demo.agent").origin or "")  # type: ignore[union-attr]
    screen.line(f"The agent's source: {_near(agent)}")


def _program() -> str:
    """Return the command that started llmtrace, as the user would type it."""
    called = Path(sys.argv[0])
    if called.stem != "llmtrace":
        return "python -m llmtrace"
    program = shutil.which("llmtrace")
    return "llmtrace" if program is not None and Path(program).samefile(called) else _near(called)


def _near(path: Path) -> str:
    """Return the path relative to the working folder, or the whole path if it is not below that folder."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
