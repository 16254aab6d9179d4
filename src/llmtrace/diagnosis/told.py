"""Clues of answers: a number misread, a thing said to be done that was not, a value of another matter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmtrace.diagnosis.clue import Clue, quote
from llmtrace.diagnosis.descriptions import identifies
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.sightings import MOST_ALIKE, Sightings, is_date, is_word, shape, words_in
from llmtrace.diagnosis.tools import acts, has_failed
from llmtrace.lineage import Use
from llmtrace.lineage.forms import numbers_in, read_number
from llmtrace.lineage.values import Value, is_round
from llmtrace.model import Inference, Trace

_NO_CHANGE = (
    r"review|retriev|check|verif|authenticat|locat|identif|receiv|deliver|notic|need|used|paid|ship|calculat|look|reach"
    r"|open|access|read|list|found|provid|process(?:ed)? (?:and|when)|consider|attempt|tried|explor|mention|request"
)
"""How verbs begin that tell of no change."""
_DONE = re.compile(
    r"\b(?:ha(?:s|ve)(?: now)? been(?: successfully)?|(?:is|are) now|I(?:'ve| have)(?: successfully| now)?|successfully)\s+"
    rf"(?!{_NO_CHANGE})"
    r"(?:\w+ed|sent|made|done|set|put)\b",
    re.IGNORECASE,
)
_IS_DONE = re.compile(
    rf"\b(?:is|are)\s+(?!{_NO_CHANGE}|assum|stud|describ|discuss|defin|estimat|expect|suppos|requir|relat|based|named|call|publish"
    r"|refer|report|measur|compar|determin|observ|contain|includ|associat|interest|concern|consult|analy|show|stated)(\w{3,}ed)\b",
    re.IGNORECASE,
)
_IRREGULAR = {"sent": "send", "made": "make", "done": "do"}
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_STEM = 5
"""Letters of a verb by which it is known in its other forms."""
_IF = re.compile(r"\b(?:once|after|if|until|unless|when|whether|before|cannot|not|no)\b[^.!?\n]*$", re.IGNORECASE)
_RUN = re.compile(r"[^\W_]+")
_LABELS = frozenset({"id", "number", "code", "key"})
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MOST_KINDS = 60
_ELEMENT = re.compile(r"#?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_LIST = re.compile(r"(?<![\w-])#?\w[\w-]{3,}(?:(?:,(?: and| or)?| and| or) #?\w[\w-]{3,})+")
_LINE = re.compile(r"^([ \t]*)(?:[-*•]|\d+[.)])\s+(.*)$", re.MULTILINE)
"""An item of a list."""
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_NEXT_LINES = 400
_MONEY = re.compile(r"[$€£]\s?(\d[\d,]*(?:\.\d+)?)")
_NAMED = 90
"""Characters before a sum of money in which the thing is named that it is said of."""
_ADVICE = "Have the answer quote results only, and check its values against them before it goes out."
_MOST_NUMBERS = 4000
_FEWEST_DIGITS = 3
_NAMED_UNIT = re.compile(r"[^\W\d_]+|[%¢]")
_UNIT_AFTER = re.compile(r"[\s-]?([^\W\d_]+|[%¢])")
_SAID_UNITS = frozenset(
    """% ¢ cent cents ct pence percent pct mm cm m km meter meters metre metres kilometer kilometers kilometre kilometres mg g
    kg gram grams kilo kilos kilogram kilograms ml l liter liters litre litres ms s sec secs second seconds millisecond
    milliseconds min mins minute minutes h hr hrs hour hours d day days week weeks month months year years dozen byte bytes kb
    mb gb tb wh kwh w kw mw""".split()  # noqa: SIM905
)
_UNITS = (0.01, 0.001, 100, 1000)


class _Known:
    """The numbers that were visible so far, the first `_MOST_NUMBERS` of them, by their digits."""

    def __init__(self) -> None:
        self._by_digits: dict[str, float] = {}
        self._broken: list[str] = []
        """Of each number with decimals its digits, and how it is written."""
        self._lines: str | None = None
        """The same as one text, which is searched much faster."""

    def add(self, numbers: Iterable[float]) -> None:
        known = self._by_digits
        if len(known) >= _MOST_NUMBERS:
            return
        for number in numbers:
            digits, whole = _digits(number), number.is_integer()
            if digits not in known:
                known[digits] = number
                if not whole:
                    self._broken.append(f"{digits} {number:.2f}")
            if number >= 1 and not whole:
                for factor in _UNITS:
                    known.setdefault(f"~{round(number * factor, 2):g}", number)
            if len(known) >= _MOST_NUMBERS:
                break
        self._lines = None

    def get(self, digits: str) -> float | None:
        return self._by_digits.get(digits)

    def cut_from(self, whole: str, digits: str) -> float | None:
        """The first number with decimals of which this one is the end or the beginning."""
        if self._lines is None:
            self._lines = "\n".join(("", *self._broken, ""))
        found = [at for at in (self._longer(f"{digits} ", digits), self._longer(f" {whole}", digits)) if at is not None]
        return self._by_digits[self._digits_at(min(found))] if found else None

    def _longer(self, piece: str, digits: str) -> int | None:
        """Where the first line with this piece begins that has more digits than these, up to twice as many and one."""
        lines = self._lines or ""
        at = lines.find(piece)
        while at >= 0:
            start = lines.rfind("\n", 0, at) + 1
            if 1 <= len(self._digits_at(start)) - len(digits) <= len(digits) + 1:
                return start
            at = lines.find(piece, at + 1)
        return None

    def _digits_at(self, start: int) -> str:
        lines = self._lines or ""
        return lines[start : lines.find(" ", start)]


def misread(flow: Flow) -> Iterator[Clue]:
    """A number that nothing contains, next to one that differs by a decimal point, by a cut, or by two digits exchanged."""
    known, awaited = _Known(), list[Node]()
    for node in flow.nodes:
        for call in awaited:
            if call.told <= node.place:
                known.add(_numbers(call))
        awaited = [call for call in awaited if call.told > node.place]
        for use in node.uses:
            if use.kind == "number" and (use.made_up or use.provenance.form == "derived" or _is_round(use)):
                origin = _origin(use, known)
                if origin is not None and not _unit_is_said(node, use, flow):
                    yield _misread(node, use, origin)
        if node.kind == "user":
            known.add(numbers_in(node.text))
        elif node.has_result:
            awaited.append(node)


def _numbers(call: Node) -> Iterable[float]:
    return numbers_in(call.result if isinstance(call.result, str) else str(call.result))


def _digits(number: float) -> str:
    return f"{number:.10g}".replace(".", "").strip("0")


def _is_round(use: Use) -> bool:
    """A number that people choose; it is suspect only as a known one in another unit."""
    return use.provenance.status == "unknown" and is_round(Value(use.value, "number"))


def _origin(use: Use, known: _Known) -> float | None:
    number = read_number(str(use.value))
    if number is None:
        return None
    digits = _digits(abs(number))
    same = known.get(digits)
    if _is_round(use):
        alike = same is not None and any(abs(same * factor - number) < 0.01 for factor in _UNITS)
        return same if len(digits) > 1 and alike else None
    if len(digits) < _FEWEST_DIGITS:
        return None
    if same is not None and same != number:
        return same
    in_other_unit = known.get(f"~{number:g}")
    if in_other_unit is not None or use.provenance.form == "derived":
        return in_other_unit
    swaps = (
        digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
        for at in range(len(digits) - 1)
        if digits[at] != digits[at + 1]
    )
    swapped = next((near for other in swaps if (near := known.get(other)) is not None), None)
    return known.cut_from(f"{number:g}", digits) if swapped is None else swapped


def _unit_is_said(node: Node, use: Use, flow: Flow) -> bool:
    """True for a number of a result in another unit, where that is said: by the name of the member it stands in, here or there,
    or by what follows it. Of money only cents are."""
    provenance = use.provenance
    origins = (provenance.earliest, provenance.latest, *provenance.inputs) if provenance.rule == "unit" else ()
    named = [use.pointer] * bool(origins)
    for origin in (origin for origin in origins if origin is not None and origin.call_id is not None):
        after = _UNIT_AFTER.match(node.text, use.end) if node.kind == "answer" else None
        named += [after[1]] if after is not None else []
        named += [f"{match.pointer} {match.text}" for match in flow.lineage.matches(origin, use)]
    return any(not _SAID_UNITS.isdisjoint(_NAMED_UNIT.findall(_CAMEL.sub(" ", name).casefold())) for name in named)


def _misread(node: Node, use: Use, origin: float) -> Clue:
    where, advice = "the answer misreads a number", _ADVICE
    if node.kind == "call":
        where = f"{node.tool} was called with a misread {use.pointer}"
        advice = (
            f"Say in the schema of {node.tool} in which unit {use.pointer} is, and have the tool compare it with what it knows."
        )
    evidence = f"{quote(use.value)} is in no message and no result before, but {origin:g} is: its digits, written otherwise."
    pointer = use.pointer or None
    return Clue("misread", node.span_id, where, evidence, advice, "warning", node, use, pointer, use.value)


def not_done(trace: Trace, flow: Flow) -> Iterator[Clue]:
    """An answer that tells of a change, where no call since the user's last turn made one; in a run without any call, one
    that a tool on offer would have made."""
    changed: set[int] = set()
    any_change = any(node.kind == "call" and acts(node) for node in flow.nodes)
    calls = any(node.kind == "call" for node in flow.nodes)
    asked_of = [] if calls else [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    offered = list(dict.fromkeys(tool.name for inference in asked_of for tool in inference.tools))
    given = " ".join(message.text() for inference in asked_of for message in inference.input if message.role != "assistant")
    given = given.casefold()
    for node in flow.nodes:
        if node.kind == "call":
            if acts(node) and not has_failed(node):
                changed.add(node.turn)
        elif node.kind == "answer" and (calls or offered) and node.turn not in changed:
            asked = [done for done in _IS_DONE.finditer(node.text) if _was_asked_for(done, node, flow)]
            said = (*_DONE.finditer(node.text), *asked)
            left = {} if calls else {done: tool for done in said if (tool := _doing(done.group(), offered, given)) is not None}
            said = said if calls else tuple(left)
            found = next((done for done in said if not _IF.search(node.text, 0, done.start())), None)
            if found is not None and not node.text.rstrip().endswith("?"):
                title = "the answer says that something was done that no call did"
                evidence = f"It says “{found.group()}”, and no call since the user's last words changed anything."
                if found in left:
                    evidence = f"It says “{found.group()}”, and {left[found]}, which was on offer, was not called."
                advice = "Have the program report what was done from the results of calls, not from the model's words."
                severity = "warning" if any_change or not calls else "info"
                yield Clue("not_done", node.span_id, title, evidence, advice, severity, node, value=found.group())  # type: ignore[arg-type]


def _doing(done: str, tools: Iterable[str], given: str) -> str | None:
    """The tool whose name says what was done: `cancel_order` of "has been cancelled". None where the model was told so."""
    verb = done.rsplit(maxsplit=1)[-1].casefold()
    if verb in given:
        return None
    verb = _IRREGULAR.get(verb, verb.removesuffix("ed"))
    if len(verb) > _STEM - 2 and verb[-1] == verb[-2]:
        verb = verb[:-1]
    return next((tool for tool in tools for word in _NAME_WORD.findall(tool) if word.casefold().startswith(verb)), None)


def _was_asked_for(done: re.Match[str], answer: Node, flow: Flow) -> bool:
    """True for "is returned" where the user said to return, and no result speaks of a return."""
    stem = done.group(1)[:_STEM].casefold()
    before = flow.nodes[: answer.place]
    asked = any(node.kind == "user" and stem in node.text.casefold() for node in before)
    return asked and not any(node.has_result and stem in str(node.result).casefold() for node in before)


def of_another_matter(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """An answer that names an identifier which nothing since the user's last turn holds, beside others that it holds."""
    for node in flow.nodes:
        if node.kind != "answer":
            continue
        fresh: list[str] = []
        old: list[str] = []
        for word in sorted(words_in(node.text)):
            if is_date(word):
                continue
            before = seen.before(word, node)
            if before:
                (fresh if any(one.turn == node.turn for one in before) else old).append(word)
        if len(old) == 1 and fresh:
            title = "the answer names something that this turn was not about"
            evidence = f"{quote(old[0])} is in nothing since the user's last words, as the rest of the answer is."
            yield Clue("other_matter", node.span_id, title, evidence, _ADVICE, "info", node, value=old[0])


def mislabelled(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """An answer that calls a value by a name which no result gives it."""
    kinds = {kind for name in seen.members if (kind := _kind_of(name))}
    if not kinds:
        return
    spoken = "|".join(re.escape(kind) for kind in sorted(kinds, key=len, reverse=True)[:_MOST_KINDS])
    label = rf"\b({spoken})(?: (?:with )?(?:the )?(?:id|number|code|no\.?)(?: of)?)?(?: is)?"
    labelled = re.compile(rf"{label}\W{{0,5}}?(#?\w[\w-]{{4,}})", re.IGNORECASE)
    for node in flow.nodes:
        found = _wrong_label(node, labelled, seen) if node.kind == "answer" else None
        if found is not None:
            label, word, name = found
            title = f"the answer gives a wrong {label}"
            evidence = f"It calls {quote(word)} the {label}; in the results it is {name}."
            yield Clue("mislabelled", node.span_id, title, evidence, _ADVICE, "warning", node, value=word)


def _wrong_label(node: Node, labelled: re.Pattern[str], seen: Sightings) -> tuple[str, str, str] | None:
    for match in labelled.finditer(node.text):
        label, word = match.group(1).casefold(), match.group(2)
        names = sorted(seen.names(word))
        kinds = [_kind_of(name) or _plural(name, seen) for name in names]
        if kinds and all(kinds) and not any(label in kind or kind in label for kind in kinds) and seen.before(word, node):
            return label, word, names[0]
    return None


def _kind_of(name: str) -> str:
    """What an identifier of this name is one of: ``order`` for ``order_id``; empty where the name does not say."""
    words = _plain(name).split()
    return " ".join(words[:-1]) if len(words) > 1 and words[-1].removesuffix("s") in _LABELS else ""


def _plural(name: str, seen: Sightings) -> str:
    """``reservation`` for ``reservations``, where results speak of a ``reservation_id`` too."""
    kind = _plain(name).removesuffix("s")
    return kind if any(_kind_of(other) == kind for other in seen.members) else ""


def _plain(name: str) -> str:
    return " ".join(_RUN.findall(_CAMEL.sub(" ", name).casefold().replace("_", " ")))


def listed_twice(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """An answer that lists identifiers, in a sentence or one a line, and names one of them twice."""
    for node in flow.nodes:
        found = (_twice_in_a_sentence(node.text) or _twice_in_lines(node.text, seen)) if node.kind == "answer" else None
        if found is not None:
            twice, where = found
            title = "the answer lists the same thing twice"
            evidence = f"It names {quote(twice)} twice in {quote(where)}."
            yield Clue("contradicts", node.span_id, title, evidence, _ADVICE, "warning", node, value=twice)


def _twice_in_a_sentence(text: str) -> tuple[str, str] | None:
    for match in _LIST.finditer(text):
        seen: set[str] = set()
        for word in _ELEMENT.findall(match.group()):
            if word in seen:
                if is_date(word):
                    break
                return word, match.group()
            if any(c.isdigit() for c in word):
                seen.add(word)
    return None


def _twice_in_lines(text: str, seen: Sightings) -> tuple[str, str] | None:
    """Of the items of one list those that name one identifier of a form, and not what its record holds: of that there may be
    several."""
    named: dict[tuple[int, str], list[str]] = {}
    above: list[tuple[int, int]] = []
    for number, match in enumerate(_LINE.finditer(text), 1):
        indent = len(match.group(1))
        while above and above[-1][0] >= indent:
            above.pop()
        line = match.group(2).casefold()
        known = {word for word in _ELEMENT.findall(match.group(2)) if is_word(word) and _is_identifier(word, seen)}
        words = sorted(word for word in known if not any(thing in line for thing in seen.things.get(word, ())))
        forms = [shape(word) for word in words]
        for word in words:
            if forms.count(shape(word)) == 1:
                held = named.setdefault((above[-1][1] if above else 0, shape(word)), [])
                if word in held:
                    return word, f"one list ({', '.join(held)}, {word})"
                held.append(word)
        above.append((indent, number))
    return None


def _is_identifier(word: str, seen: Sightings) -> bool:
    """True if all members of results that hold it identify something, by their names, or are lists."""
    names = seen.names(word)
    return bool(names) and not is_date(word) and all(identifies(name) or name.endswith("s") for name in names)


def of_another_thing(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """An answer that names a thing along with an identifier whose record has no such thing, while another record has."""
    for node in flow.nodes:
        if node.kind != "answer" or not seen.things:
            continue
        known = [match for match in _ELEMENT.finditer(node.text) if match.group() in seen.things][:_MOST_KINDS]
        for at, match in enumerate(known):
            identifier = match.group()
            form = shape(identifier)
            end = next((other.start() for other in known[at + 1 :] if shape(other.group()) == form), len(node.text))
            named, wrong = _named_with(identifier, _passage(node.text, match.start(), match.end(), end), node, seen)
            if wrong and not named:
                title = "the answer names a thing along with the identifier of another"
                evidence = f"It says {quote(wrong)} of {quote(identifier)}, whose record has none; another record has."
                yield Clue("contradicts", node.span_id, title, evidence, _ADVICE, "warning", node, value=identifier)
                break


def _passage(text: str, start: int, stop: int, end: int) -> str:
    """What is said of the identifier at these characters: its sentence, or the lines below it where it heads a list."""
    begin = max(text.rfind(mark, 0, start) for mark in (". ", "? ", "! ", "\n")) + 1
    line = text.find("\n", stop)
    below = text[line : min(end, stop + _NEXT_LINES)] if -1 < line < end else ""
    sentence = _SENTENCE_END.search(text, stop)
    return text[begin : sentence.start() if sentence else len(text)] + (below.partition("\n\n")[0] if below else "")


def _named_with(identifier: str, said: str, node: Node, seen: Sightings) -> tuple[str | None, str | None]:
    """A thing of this record, and one of another record of the form only, that the text names."""
    said, own = said.casefold(), seen.things[identifier]
    spoken = [thing for thing in list(seen.owners)[:MOST_ALIKE] if thing in said]
    for thing in spoken:
        if thing not in own and any(
            seen.kin(other, identifier) and at < node.place for other, at in seen.owners[thing].items()
        ):
            return next((other for other in spoken if other in own), None), thing
    return None, None


def of_another_record(flow: Flow, seen: Sightings) -> Iterator[Clue]:
    """A sum of money that the answer gives for a thing which has none such in the results, while another thing has."""
    for node in flow.nodes:
        start = 0
        for match in _MONEY.finditer(node.text) if node.kind == "answer" else ():
            number = read_number(match.group(1)) or 0.0
            before = node.text[max(start, match.start() - _NAMED) : match.start()].casefold()
            start = match.end()
            name = seen.last_name(before)
            if name is None or number in seen.records[name] or not any(number in held for held in seen.records.values()):
                continue
            title = "the answer gives a sum that belongs to something else"
            evidence = f"It says {quote(match.group())} of {quote(name)}; in the results that is the sum of another thing."
            yield Clue("contradicts", node.span_id, title, evidence, _ADVICE, "warning", node, value=match.group())
            break
