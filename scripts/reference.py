"""Generates docs/reference from docstrings, the parsers of the command line, `Config` and semconv.py; a hook of mkdocs.

Generated pages exist in the built site only. Tests read them by `pages`. Whatever a page says is written where the code is.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import posixpath
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import llmtrace
from llmtrace import cli, config, errors, instrumentation, pytest_plugin, reviews, semconv, testing
from llmtrace.cli import options
from llmtrace.codec.writers import WRITERS
from llmtrace.diagnosis import Diagnosis, place_ranker
from llmtrace.guards.review_policy import ReviewContext
from llmtrace.laws import is_built_in, load
from llmtrace.model import findings
from llmtrace.opened_store import OpenedStore, StoredTrace
from llmtrace.recorder.open_span import OpenBlock, OpenSpan

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MORE = ("CONTRIBUTING.md", "examples/*.md", "examples/**/*.py", "deploy/README.md")
"""Files outside of docs/ that pages link to; the site has them, too."""

GROUPS = {
    "Turn it on": "configure flush shutdown instrument",
    "Trace steps": "agent workflow span current_span inference retrieval prompt suppress",
    "Define tools": "tool Tools",
    "Connect threads, processes and users": "context wrap inject extract",
    "Limits": "Budget slo",
    "Checkpoints and reviews": "checkpoint resume validated review Decision reviews resume_review",
    "Verdicts": "outcome feedback signal",
    "Look at a run": "last open_store",
    "Tests": "testing cases replay",
}
"""The public names, in the order of the page."""
GIVES = {
    "agent": (OpenSpan, OpenBlock),
    "inference": (type(llmtrace.inference("x")),),
    "retrieval": (type(llmtrace.retrieval("x")),),
    "review": (ReviewContext,),
    "Tools": (llmtrace.Tools,),
    "open_store": (OpenedStore, StoredTrace, Diagnosis),
    "Decision": (llmtrace.Decision,),
    "reviews": (reviews,),
    "testing": (testing.capture, testing.counting_identity, testing.Run, testing.ReplayedRun),
}
"""What else is described with a name: the class that it gives, or its parts."""
KIND = re.compile(r"(string|int|double|boolean|any|event|log record|JSON( \w+)?)(\[\])?: ")
"""How the docstring of an attribute's name begins."""
FIXTURES = (pytest_plugin.llmtrace_capture, pytest_plugin.llmtrace_replay)


def pages() -> dict[str, str]:
    """The text of every generated page, by its path below docs/."""
    written = {
        "api": _api(),
        "attributes": _attributes(),
        "cli": _command_line(),
        "configuration": _configuration(),
        "errors": _errors(),
        "libraries": _libraries(),
        "places": _places(),
        "signals": _signals(),
        "writers": _writers(),
    }
    return {f"reference/{name}.md": f"{text.rstrip()}\n" for name, text in written.items()}


# -- text


def _prose(code: Any) -> str:
    """A docstring as Markdown: its lists and code blocks, and links to other pages of docs/."""
    text = code if isinstance(code, str) else inspect.getdoc(code) or ""
    text = re.sub(r"(?<!`)``(?!`)", "`", text)
    text = re.sub(r"::\n((?:\n| {2,}.*\n?)+)", _code_block, text)
    return re.sub(r"\bdocs/([\w/]+)\.md", lambda match: f"[{_title(match[1])}](../{match[1]}.md)", text)


def _code_block(match: re.Match[str]) -> str:
    return f":\n\n```python\n{textwrap.dedent(match[1]).strip()}\n```\n\n"


def _title(page: str) -> str:
    path = DOCS / f"{page}.md"
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") if path.is_file() else page


def _one_line(text: str) -> str:
    """For a cell of a table: only outside of code does a vertical bar end the cell."""
    pieces = re.split(r"(`[^`]*`)", " ".join(_prose(text).split()))
    return "".join(piece if piece[:1] == "`" else piece.replace("|", "\\|") for piece in pieces)


def _table(head: str, rows: Iterator[str] | list[str]) -> str:
    return "\n".join([f"| {head} |", "|" + "---|" * (head.count(" | ") + 1), *rows])


def _member_docs(tree: ast.AST) -> dict[str, str]:
    """The docstring that follows each assignment to a name, in a module or a class."""
    body = tree.body if isinstance(tree, (ast.Module, ast.ClassDef)) else []
    found = {}
    for node, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            doc = after.value if isinstance(after, ast.Expr) else None
            found[node.target.id] = str(doc.value) if isinstance(doc, ast.Constant) else ""
    return found


# -- the API


def _api() -> str:
    intro = (
        "# API\n\nEvery public name. Import them from `llmtrace`. No function raises because recording failed. A wrong value "
        "raises `ConfigurationError` at once, an unknown option `TypeError`. Without `configure()` nothing is recorded, but "
        "tools and their policies work. [Errors](errors.md) and [options](configuration.md) have their own pages.\n"
    )
    return intro + "".join(f"\n## {group}\n\n{''.join(map(_public, names.split()))}" for group, names in GROUPS.items())


def _public(name: str) -> str:
    value = getattr(llmtrace, name)
    parts = [f"### `{name}`", *([] if inspect.ismodule(value) else [_signature(name, value)]), _linked(_prose(value), name)]
    parts += (_part(part) for part in GIVES.get(name, ()))
    parts += (_part(fixture) for fixture in FIXTURES if name == "testing")
    return "\n\n".join(parts) + "\n\n"


def _linked(text: str, own: str) -> str:
    """Text in which other public names lead to their place on the page."""
    public = "|".join(sorted(set(llmtrace.__all__) - {own, "__version__"}))
    link = re.compile(rf"`(?:llmtrace\.)?({public})`")
    pieces = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    return "".join(
        piece if piece[:3] == "```" else link.sub(lambda name: f"[`{name[1]}`](#{name[1].lower()})", piece) for piece in pieces
    )


def _signature(name: str, value: Any) -> str:
    parameters = inspect.signature(value).parameters.values()
    shown = [str(each.replace(annotation=inspect.Parameter.empty)) for each in parameters]
    stars = [place for place, each in enumerate(parameters) if each.kind is each.KEYWORD_ONLY]
    if stars and not any(each.kind is each.VAR_POSITIONAL for each in parameters):
        shown.insert(stars[0], "*")
    lines = textwrap.wrap(f"{name}({', '.join(shown)})", 80, subsequent_indent="    ", break_long_words=False)
    return "```text\n" + "\n".join(lines) + "\n```"


def _part(part: Any) -> str:
    """A class or module as its docstring and a list of its public members; a function as one entry."""
    name = part.__name__.rpartition(".")[2]
    if inspect.isfunction(inspect.unwrap(part)) or not (inspect.isclass(part) or inspect.ismodule(part)):
        return f"* {_entry(name, part)}"
    if inspect.isclass(part):
        own = dict(vars(part))
    else:
        own = {member: value for member, value in vars(part).items() if getattr(value, "__module__", "") == part.__name__}
    docs = _class_docs(part) if inspect.isclass(part) else {}
    entries = [
        f"* {_entry(member, value, docs.get(member, ''))}" for member, value in own.items() if _is_shown(member, value, docs)
    ]
    first = [] if name in llmtrace.__all__ else [f"`{name}`: {_prose(part)}"]
    return "\n\n".join([*first, "\n".join(entries)] if entries else first)


def _is_shown(name: str, value: Any, docs: dict[str, str]) -> bool:
    if name.startswith("_") or name in ("mro",):
        return False
    return bool(docs.get(name)) or inspect.isfunction(value) or isinstance(value, property)


def _class_docs(part: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    return _member_docs(tree)


def _entry(name: str, value: Any, doc: str = "") -> str:
    call = ""
    if inspect.isfunction(inspect.unwrap(value)):
        names = [each for each in inspect.signature(value).parameters if each != "self"]
        call = f"({', '.join(names)})"
    return f"`{name}{call}`: {_one_line(doc or inspect.getdoc(value) or '')}"


# -- errors, options, commands


def _errors() -> str:
    parts = ["# Errors\n\nImport them from `llmtrace.errors`.", "```text\n" + _tree() + "\n```"]
    for name, error in vars(errors).items():
        if inspect.isclass(error) and error.__module__ == errors.__name__:
            parts.append(f"## `{name}`\n\n{_prose(error)}")
    return "\n\n".join(parts)


def _tree() -> str:
    return textwrap.dedent((inspect.getdoc(errors) or "").partition("::\n")[2]).strip()


def _configuration() -> str:
    rows = []
    for option in fields(config.Config):
        default = option.default if option.default is not MISSING else {}
        rows.append(f"| `{option.name}` | `LLMTRACE_{option.name.upper()}` | `{default!r}` | {option.metadata['doc']} |")
    return f"# Configuration\n\n{_prose(config)}\n\n{_table('option | variable | default | meaning', rows)}"


def _command_line() -> str:
    parts = [f"# Command line\n\n{_prose(cli.USAGE)}", _table("exit code | meaning", list(_exit_codes()))]
    for name, command in cli.commands().items():
        parser, module = cli.parser_of(command)
        about = _prose(module.__doc__ or "").partition(": ")[2]
        rows = [f"| `{_named(action)}` | {_one_line(action.help or '')} |" for action in _actions(parser)]
        parts += [f"## `llmtrace {name}`", about[:1].upper() + about[1:]]
        parts += [_table("argument | meaning", rows)] if rows else []
        parts.append(f"```sh\n{module.EXAMPLE}\n```")
    return "\n\n".join(parts)


def _exit_codes() -> Iterator[str]:
    for code, meaning in options.EXIT_CODES.items():
        yield f"| {code} | {_one_line(meaning)} |"


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    common = ("help", "json", "store")
    return [action for action in parser._actions if action.dest not in common and action.help is not argparse.SUPPRESS]


def _named(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest)
    return " ".join([", ".join(action.option_strings), value]).strip()


# -- signals and attributes


def _signals() -> str:
    intro = _prose(importlib.import_module("llmtrace.laws")).split("\n\n")
    parts = ["# Quality signals", *(part for part in intro if not part.startswith("This folder is the registry"))]
    for signal in load():
        if not is_built_in(signal.name):
            continue
        module = importlib.import_module(f"llmtrace.laws.{signal.name}")
        text = re.sub(r"^\* (\w+): ", r"* **\1** ", _prose(module), flags=re.MULTILINE)
        parts.append(f"## {signal.name}\n\n{text}" + (f"\n\nAdvice: {signal.advice}" if signal.advice else ""))
    return "\n\n".join(parts)


def _libraries() -> str:
    rows = []
    for name in instrumentation.available():
        library = instrumentation.library_of(name)
        spec = importlib.util.find_spec(f"llmtrace.instrumentation.{name}")
        if library.distribution and spec is not None and spec.origin is not None:
            about = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
            sentence = re.split(r"\.\s", about.partition(": ")[2])[0].partition("\n\n")[0].rstrip(".")
            sentence = re.sub(r" \(`_\w+`\)", "", sentence)
            rows.append(f"| `{library.distribution}` | {library.versions} | `{name}` | {_one_line(sentence)} |")
    intro = "Libraries that `configure()` instruments. The third column is the name for `configure(instrument=[…])`."
    parts = ["# Libraries", intro, _table("library | versions | name | what is traced", rows)]
    for part in (instrumentation.Endpoint, instrumentation.Reader):
        parts += [f"## `{part.__name__}`", _part(part)]
    return "\n\n".join(parts)


def _places() -> str:
    weights = place_ranker.shipped().weights
    names = sorted(place_ranker.FEATURES, key=lambda name: -weights[name])
    rows = [f"| {name} | {place_ranker.FEATURES[name]} | {weights[name]:+.2f} |" for name in names]
    return f"# Places\n\n{_prose(place_ranker)}\n\n{_table('feature | what it is | weight', rows)}"


def _writers() -> str:
    intro = (
        "Other libraries that write spans: what to set so that they record content and tool schemas, and what they are known "
        "to lose or change. docs/how_to/other_languages.md says how they send."
    )
    rows = [
        f"| {writer.name} | {writer.content} | {writer.schemas or 'not recorded by this writer'} | {writer.damage} |"
        for writer in WRITERS
    ]
    return f"# Writers\n\n{_prose(intro)}\n\n{_table('writer | content | schemas | known', rows)}"


def _attributes() -> str:
    source = (Path(semconv.__file__)).read_text(encoding="utf-8")
    docs = _member_docs(ast.parse(source))
    head = "name | type | meaning"
    parts = [f"# Attributes\n\n{_prose(semconv)}"]
    for title, section in re.findall(r"^# -- ([^\n]*)\n(.*?)(?=^# -- |\Z)", source, re.DOTALL | re.MULTILINE):
        names = re.findall(r"^([A-Z_0-9]+): Final = ", section, re.MULTILINE)
        rows = [row for name in names for row in _attribute_rows(name, docs.get(name, ""))]
        if rows:
            parts += [f"## {title[:1].upper()}{title[1:]}", _table(head, rows)]
    for title, prefix, owner in (
        ("Attributes of a violation", semconv.VIOLATION_PREFIX, findings.Violation),
        ("Attributes of an evaluation", semconv.EVALUATION_PREFIX, findings.Evaluation),
    ):
        parts += [f"## {title}", _table(head, list(_field_rows(prefix, owner)))]
    return "\n\n".join(parts)


def _attribute_rows(name: str, doc: str) -> Iterator[str]:
    value = getattr(semconv, name)
    if name == "REQUEST_PARAMETERS":
        yield from (f"| `{semconv.REQUEST_PREFIX}{each}` | as requested | Parameter of the request. |" for each in value)
    elif KIND.match(doc):
        kind, _, meaning = doc.partition(": ")
        mark = "● " if value in semconv.CONTENT and name != "EVALUATION_EXPLANATION" else ""
        yield f"| `{value}{'<name>' * name.endswith('_PREFIX')}` | {kind} | {mark}{_one_line(meaning)} |"


def _field_rows(prefix: str, owner: type) -> Iterator[str]:
    docs = _class_docs(owner)
    standard = {} if prefix == semconv.VIOLATION_PREFIX else {"name", "score", "label", "explanation"}
    for field in fields(owner):
        if field.name not in standard:
            mark = "● " if field.name in ("got", "evidence") else ""
            kind = str(field.type).replace(" | ", " or ")
            yield f"| `{prefix}{field.name}` | `{kind}` | {mark}{_one_line(docs.get(field.name, ''))} |"


# -- what mkdocs calls


def on_config(config: Any) -> Any:
    """The site's menu is the index, docs/README.md."""
    _, *parts = re.split(r"^## (.*)$", (DOCS / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    config.nav = [{"Home": "README.md"}]
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        links, *groups = re.split(r"^### (.*)$", text, flags=re.MULTILINE)
        together = [{group: _menu(lines)} for group, lines in zip(groups[::2], groups[1::2], strict=True)]
        config.nav.append({title: [*_menu(links), *together]})
    return config


def _menu(lines: str) -> list[dict[str, str]]:
    links = re.findall(r"\[([^\]]+)\]\(([\w/]+\.md)\)", lines)
    return [{name.replace("`", ""): path} for name, path in links]


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    for pattern in MORE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links that leave docs/ lead to the copies in the site, and links of these copies back into it."""
    path = page.file.src_uri
    inside = (DOCS / path).exists() or path.startswith("reference/")
    home = posixpath.dirname(f"docs/{path}" if inside else path)

    def to_site(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(home, match[2]))
        place = target.removeprefix("docs/")
        return f"{match[1]}{posixpath.relpath(place, posixpath.dirname(path) or '.')}{match[3]}"

    return re.sub(r"(\]\()(?![a-z]+:|#)([^)#\s]+)((?:#[^)]*)?\))", to_site, markdown)
