"""`diff`, `show --env`, `freeze` and `verify`: real runs of a small program, of which one thing is changed at a time."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.store import Query, open_store
from tests.stored import read

PROGRAM = """
import json, os, openai, llmtrace
llmtrace.configure(fingerprint_env=("AGENT_REGION",))
template = "You are a support agent of {shop}. Answer {tone}."
schema = {"type": "object", "properties": {"order_id": {"type": "string"}}}

@llmtrace.agent
def support(task):
    tool = {"name": "look_up", "description": os.environ.get("DESCRIPTION", "Find an order."), "parameters": schema}
    tone = os.environ.get("TONE", "politely")
    system = llmtrace.prompt("support", os.environ.get("TEMPLATE", template), shop="a kitchen shop", tone=tone)
    system = os.environ.get("PROMPT", system)
    client = openai.OpenAI(base_url=os.environ["SERVER"], api_key="k", max_retries=0)
    options = {"response_format": {"type": "json_object"}} if "FORMAT" in os.environ else {}
    answer = client.chat.completions.create(
        model=os.environ.get("MODEL", "scripted"),
        messages=[{"role": "system", "content": system}, {"role": "user", "content": task}],
        tools=[{"type": "function", "function": tool}],
        temperature=float(os.environ.get("TEMPERATURE", "0.2")),
        user=os.environ.get("CUSTOMER", "u-1"),
        **options,
    )
    return answer.choices[0].message.content

for variables in json.loads(os.environ["VARIANTS"]):
    os.environ.update(variables)
    print(support(os.environ.get("TASK", "Where is my kettle?")))
    for name in variables:
        del os.environ[name]
"""


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(lambda messages: {"role": "assistant", "content": "On its way."}, pace=0) as server:
        yield server


class Runs:
    """Runs the program with variables set."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.store = str(folder / "store")
        (folder / "agent.py").write_text(PROGRAM, encoding="utf-8")

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [variables.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "SERVER": self.url, "LLMTRACE_STORE": self.store, **variables, "PYTHONPATH": path}

    @functools.cached_property
    def variants(self) -> dict[str, str]:
        """The trace of each of `VARIANTS`. One process runs them all, since importing openai takes a second."""
        self.run(VARIANTS=json.dumps(list(VARIANTS.values())))
        store = open_store(self.store)
        newest = store.traces(Query(limit=len(VARIANTS)))
        store.close()
        return dict(zip(VARIANTS, (summary.trace_id for summary in reversed(newest)), strict=True))

    def run(self, **variables: str) -> str:
        """Run the program in a process of its own, and return the id of its last trace."""
        ran = subprocess.run(
            [sys.executable, "agent.py"],
            cwd=self.folder,
            env=self.environment({"VARIANTS": "[{}]", **variables}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return read(self.store).trace_id


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"), model.url)


CHANGED = {
    "model": ({"MODEL": "scripted-2"}, "model of support: scripted -> scripted-2"),
    "values of a template": (
        {"TONE": "rudely"},
        "system prompt (same template) of support: … agent of a kitchen shop. Answer [-politely.-] {+rudely.+}",
    ),
    "template": (
        {"TEMPLATE": "You are a sales agent of {shop}. Answer {tone}."},
        "prompt template support of support: You are a [-support-] {+sales+} agent of a kitchen",
    ),
    "tool": ({"DESCRIPTION": "Find an order by number."}, "tool look_up of support: Find an"),
    "temperature": ({"TEMPERATURE": "0.9"}, "parameter temperature of support: 0.2 -> 0.9"),
    "output schema": ({"FORMAT": "1"}, "output schema of support: new"),
}
VARIANTS = {
    "nothing": {},
    **{what: variables for what, (variables, _) in CHANGED.items()},
    "kind prompt": {"PROMPT": "You help. Be kind to them."},
    "short prompt": {"PROMPT": "You help. Be short to them."},
    "task": {"TASK": "Where is my toaster?"},
    "customer": {"CUSTOMER": "u-2"},
}


@pytest.mark.parametrize("what", CHANGED)
def test_one_change_is_the_first_cause(what: str, runs: Runs, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """`diff` and `verify` name it first, in one run after the other."""
    names_first(CHANGED[what][1], runs.variants["nothing"], runs.variants[what], runs, llmtrace, tmp_path)


def test_a_word_of_a_prompt_is_the_first_cause(runs: Runs, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Of one that no template was filled for."""
    expected = "system prompt of support: You help. Be [-kind-] {+short+} to them."
    names_first(expected, runs.variants["kind prompt"], runs.variants["short prompt"], runs, llmtrace, tmp_path)


def test_an_environment_variable_is_the_first_cause(runs: Runs, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """It is read by `configure`, so each value needs a process."""
    expected = "environment variable AGENT_REGION: (unset) -> eu"
    names_first(expected, runs.variants["nothing"], runs.run(AGENT_REGION="eu"), runs, llmtrace, tmp_path)


def names_first(expected: str, before: str, now: str, runs: Runs, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    shown = " ".join(llmtrace("diff", before, now, "--store", runs.store).out.split())
    assert f"First cause: {expected}" in shown
    lock = tmp_path / "run.lock.json"
    assert llmtrace("freeze", before, "-o", str(lock), "--store", runs.store).out == ""
    told = llmtrace("verify", str(lock), "--trace", now, "--store", runs.store)
    assert told.code == 3
    assert f"First cause: {expected}" in " ".join(told.out.split())
    same = llmtrace("verify", str(lock), "--trace", before, "--store", runs.store)
    assert (same.code, "Nothing has changed" in same.out) == (0, True)


def test_another_task_is_no_change_of_the_environment(runs: Runs, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """But it is why two runs differ."""
    first, other = runs.variants["nothing"], runs.variants["task"]
    shown = " ".join(llmtrace("diff", first, other, "--store", runs.store).out.split())
    assert "First cause: task (the first user message): Where is my [-kettle?-] {+toaster?+}" in shown
    lock = tmp_path / "run.lock.json"
    lock.write_text(llmtrace("freeze", first, "--store", runs.store).out, encoding="utf-8")
    assert llmtrace("verify", str(lock), "--trace", other, "--store", runs.store).code == 0


def test_a_library_is_the_first_cause(runs: Runs, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Also one that llmtrace does not know, as long as the lock file was written where the run was."""
    for name in ("openai-99.0", "shop_search-2.0"):
        (tmp_path / name.partition("-")[0] / f"{name}.dist-info").mkdir(parents=True)
    before = runs.variants["nothing"]
    known, other = (runs.run(PYTHONPATH=str(tmp_path / library)) for library in ("openai", "shop_search"))
    assert "First cause: library openai: " in llmtrace("diff", before, known, "--store", runs.store).out
    assert "First cause: installed packages: " in llmtrace("diff", before, other, "--store", runs.store).out
    lock = tmp_path / "run.lock.json"
    assert llmtrace("freeze", before, "-o", str(lock), "--store", runs.store).out == ""
    for library, expected in (("openai", "-> 99.0"), ("shop_search", "library shop_search: new (2.0)")):
        command = [sys.executable, "-m", "llmtrace", "verify", str(lock)]
        environment = runs.environment({"PYTHONPATH": str(tmp_path / library)})
        told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert told.returncode == 3
        assert told.stdout.startswith("First cause: library")
        assert expected in told.stdout
    assert llmtrace("verify", str(lock)).code == 0


def test_what_names_only_a_user_is_no_cause(runs: Runs, llmtrace: Callable[..., Any]) -> None:
    before, now = runs.variants["nothing"], runs.variants["customer"]
    told = json.loads(llmtrace("diff", before, now, "--json", "--store", runs.store).out)
    assert (told["causes"], told["first"]) == ([], None)


def test_a_commit_and_its_files(
    model: ModelServer, llmtrace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit of the run and of the folder today are compared; so are files that were changed since."""

    def git(*words: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    runs = Runs(tmp_path, model.url)
    git("init")
    git("add", "agent.py")
    git("commit", "-m", "first")
    before = runs.run()
    lock = tmp_path / "run.lock.json"
    assert llmtrace("freeze", before, "-o", str(lock), "--store", runs.store).out == ""
    monkeypatch.chdir(tmp_path)
    assert llmtrace("verify", str(lock)).code == 0
    (tmp_path / "agent.py").write_text(PROGRAM + "\n# more\n", encoding="utf-8")
    edited = llmtrace("verify", str(lock))
    assert (edited.code, "First cause: uncommitted changes: none -> " in edited.out) == (3, True)
    git("commit", "-am", "second")
    committed = llmtrace("verify", str(lock))
    assert (committed.code, "First cause: commit: " in committed.out) == (3, True)


def test_show_env(runs: Runs, llmtrace: Callable[..., Any]) -> None:
    shown = llmtrace("show", runs.variants["nothing"], "--env", "--store", runs.store).out
    for words in (
        "support\n",
        "model",
        "scripted",
        "tool look_up",
        "temperature",
        "0.2",
        "library openai",
        "CPython",
        "prompt template support",
    ):
        assert words.lower() in shown.lower(), words
    facts = json.loads(llmtrace("show", runs.variants["nothing"], "--env", "--json", "--store", runs.store).out)["facts"]
    assert {"kind": "model", "where": "support", "values": ["scripted"]} in facts


def test_a_file_that_is_no_lock_file(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    for text in ("", "[]", "{}", '{"llmtrace_lock": 1}', '{"llmtrace_lock": 1, "facts": [1]}'):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        told = llmtrace("verify", str(tmp_path / "x.json"))
        assert (told.code, "is not a lock file" in told.err) == (2, True), text
    assert llmtrace("verify", str(tmp_path / "absent.json")).code == 2


def test_nothing_in_common_cannot_be_told(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Another writer's trace without any call."""
    (tmp_path / "x.json").write_text(
        '{"llmtrace_lock": 1, "facts": [{"kind": "service version", "values": ["a"]}]}', encoding="utf-8"
    )
    assert llmtrace("verify", str(tmp_path / "x.json")).code == 4
