"""A notebook: cells that a real Jupyter kernel runs, and what they show in a real browser on a light and a dark page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from tests.viewer.browser.conftest import missing

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

CELLS = (
    """
import openai, llmtrace
llmtrace.configure()
client = openai.AsyncOpenAI(base_url=URL, api_key="none")

@llmtrace.tool
def refund(order_id: str, amount: float) -> dict:
    return {"error": f"there is no order {order_id}"}

tools = llmtrace.Tools(refund)

@llmtrace.agent
async def support(task: str) -> str:
    messages = [{"role": "user", "content": task}]
    while True:
        answer = await client.chat.completions.create(model="m", messages=messages, tools=tools.openai())
        message = answer.choices[0].message.model_dump(exclude_none=True)
        messages.append(message)
        if "tool_calls" not in message:
            return message["content"]
        messages += await tools.arun(message)
""",
    'await support("Refund order KS-1107, 42 EUR.")',
    "llmtrace.last()",
    "llmtrace.last().why()",
    "llmtrace.last().show()",
    "print(llmtrace.last()); print(llmtrace.last().why())",
    """
with llmtrace.open_store() as store:
    shown = list(store.traces(limit=5))
shown
""",
)
PAGE = (
    '<!doctype html><html lang="en"><title>cells</title><body style="background:{ground};color:{ink}">'
    "<main>{cells}</main></body></html>"
)
PAGES = {"light": ("#ffffff", "#000000d9"), "dark": ("#111111", "#ffffffde")}
"""Grounds and inks of JupyterLab's two own themes (``--jp-layout-color0``, ``--jp-content-font-color1``)."""


def script(messages: Any) -> dict[str, Any]:
    """A model that refunds an order of another number, and says afterwards that all is well."""
    if messages[-1]["role"] == "tool":
        return {"role": "assistant", "content": "I refunded the 42 EUR."}
    call = {"name": "refund", "arguments": '{"order_id": "KS-1170", "amount": 42}'}
    return {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": call}]}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What each cell gave."""
    try:
        import nbclient
        import nbformat.v4 as notebook
    except ImportError:
        missing("nbclient is not installed here: scripts/test --all runs this in an environment of its own")
    folder = tmp_path_factory.mktemp("notebook")
    with ModelServer(script, pace=0) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMTRACE_STORE", str(folder / "store"))
        cells = [notebook.new_code_cell(source.strip().replace("URL", repr(server.url))) for source in CELLS]
        book = notebook.new_notebook(cells=cells)
        nbclient.NotebookClient(
            book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()
    return [list(cell["outputs"]) for cell in cells]


def test_what_the_cells_say(outputs: list[list[dict[str, Any]]]) -> None:
    """The event loop of the kernel runs the agent; a trace and its diagnosis are HTML, and a line where there is none."""
    set_up, answer, trace, why, tree, lines, listed = outputs
    assert set_up == []
    assert answer[0]["data"]["text/plain"] == "'I refunded the 42 EUR.'"
    short = trace[0]["data"]["text/plain"]
    assert short.endswith("of support: suspect, 4 spans>")
    assert why[0]["data"]["text/plain"].endswith(": suspect. refund never succeeded (certain)>")
    for shown in (trace, why):
        assert "refund never succeeded" in shown[0]["data"]["text/html"]
    assert "chat m" in tree[0]["text"]
    assert lines[0]["text"].startswith(f"{short}\nrefund never succeeded (certain)\n")
    assert listed[0]["data"]["text/plain"] == f"[{short}]"


@pytest.mark.parametrize("theme", PAGES)
def test_cells_are_readable(
    theme: str, outputs: list[list[dict[str, Any]]], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    """On the page of either theme of JupyterLab, axe finds each text's contrast enough, and nothing is wider than the cell."""
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python is not installed here")
    ground, ink = PAGES[theme]
    cells = "".join(
        f"<div>{output['data'].get('text/html', '')}</div>" for cell in outputs for output in cell if "data" in output
    )
    (tmp_path / "cells.html").write_text(PAGE.format(ground=ground, ink=ink, cells=cells), encoding="utf-8")
    page = open_page((tmp_path / "cells.html").as_uri(), ".llmtrace", size=(700, 900))
    found = Axe().run(page, options={"runOnly": ["color-contrast"]}).response
    assert [[node["html"][:160] for node in one["nodes"]] for one in found["violations"]] == []
    assert found["passes"][0]["nodes"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
