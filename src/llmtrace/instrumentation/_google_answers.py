"""Google's answers: put together from chunks, of which a whole answer is one. Told at any moment; candidates are kept apart.

Law: pieces of text that follow each other are one part, so that a streamed answer and a whole one read alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._google_arguments import Arguments
from llmtrace.instrumentation._google_parts import read_parts, said, server_call, server_result, word
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)

_FINISH = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "MALFORMED_RESPONSE": "error",
}
"""Google's word to the conventions' word; the others stay, in lower case."""

_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
_BLOCKED = "content_filter"


class _Candidate:
    """One candidate of the answer."""

    __slots__ = ("beside", "calls", "finish", "parts", "ratings", "told")

    def __init__(self) -> None:
        self.parts: list[Part | list[str]] = []
        """Parts; and, of texts that may go on, the pieces, the first of which says whether they are thoughts."""
        self.calls: Arguments | None = None
        self.finish: str | None = None
        self.told: str | None = None
        """What Google says about the end, beside the reason."""
        self.ratings: Any = None
        """How Google's filters rated it."""
        self.beside: dict[str, Any] = {}

    def add(self, candidate: Mapping[str, Any]) -> None:
        for raw in said(candidate.get("content")).get("parts") or ():
            self._add_part(raw)
        reason = candidate.get("finish_reason")
        if reason is not None and word(reason) != _UNSPECIFIED:
            self.finish = word(reason)
        self.told = candidate.get("finish_message") or self.told
        self.ratings = candidate.get("safety_ratings") or self.ratings
        for name in ("grounding_metadata", "url_context_metadata", "citation_metadata"):
            if candidate.get(name) is not None:
                self.beside[name] = candidate[name]

    def _add_part(self, raw: Any) -> None:
        part = said(raw)
        text = part.get("text")
        if text is not None and isinstance(text, str):
            if text:
                self._add_text(text, "thought" if part.get("thought") else "text")
        elif part.get("function_call") is not None:
            self._add_call(raw, said(part["function_call"]))
        else:
            self.parts.extend(read_parts((raw,)))

    def _add_text(self, text: str, kind: str) -> None:
        last = self.parts[-1] if self.parts else None
        if isinstance(last, list) and last[0] == kind:
            last.append(text)
        else:
            self.parts.append([kind, text])

    def _add_call(self, raw: Any, call: Mapping[str, Any]) -> None:
        """A call, or a piece of one: Vertex AI can stream the arguments."""
        goes_on = bool(call.get("will_continue"))
        if self.calls is None and not goes_on and not call.get("partial_args"):
            self.parts.extend(read_parts((raw,)))
            return
        if self.calls is None:
            self.calls = Arguments()
            self.parts.append(ToolCall(str(call.get("name") or ""), self.calls.value, call.get("id")))
        for one in call.get("partial_args") or ():
            self.calls.add(said(one))
        if not goes_on:
            self.calls = None

    def message(self) -> Message:
        return Message("assistant", tuple(self._parts()), finish_reason=self.reason())

    def reason(self) -> str | None:
        if self.finish == "STOP" and any(isinstance(part, ToolCall) for part in self.parts):
            return "tool_call"
        return None if self.finish is None else _FINISH.get(self.finish, self.finish.lower())

    def _parts(self) -> Iterator[Part]:
        for part in self.parts:
            if isinstance(part, list):
                text = "".join(part[1:])
                yield Reasoning(text) if part[0] == "thought" else Text(text)
            else:
                yield part
        if self.told:
            yield Generic("finish_message", {"reason": self.finish, "content": self.told})
        if self.ratings and self.reason() == _BLOCKED:
            yield Generic("safety_ratings", {"ratings": [_told(said(rating)) for rating in self.ratings]})
        for name, metadata in self.beside.items():
            yield from _BESIDE[name](said(metadata))


def _grounding(metadata: Mapping[str, Any]) -> Iterator[Part]:
    """What Google searched for, and what it found."""
    queries = metadata.get("web_search_queries") or metadata.get("image_search_queries")
    found = _told(metadata, "search_entry_point", "web_search_queries")
    if queries:
        yield server_call("google_search", {"queries": to_json(queries)})
    if found:
        yield server_result("google_search", found)


def _url_context(metadata: Mapping[str, Any]) -> Iterator[Part]:
    found = _told(metadata)
    if found:
        yield server_call("url_context", {})
        yield server_result("url_context", found)


def _citations(metadata: Mapping[str, Any]) -> Iterator[Part]:
    found = _told(metadata)
    if found:
        yield Generic("citations", found)


def _told(metadata: Mapping[str, Any], *but: str) -> dict[str, JsonValue]:
    return {name: to_json(member) for name, member in metadata.items() if member and name not in but}


_BESIDE = {"grounding_metadata": _grounding, "url_context_metadata": _url_context, "citation_metadata": _citations}


class AnswerReader(Reader):
    """`Reader` of ``GenerateContentResponse``s. ``asked``: how many candidates the request asked for."""

    def __init__(self, asked: int = 1) -> None:
        self._asked = asked
        self._id: str | None = None
        self._model: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocked: Any = None
        self._candidates: dict[int, _Candidate] = {}

    def feed(self, chunk: Any) -> None:
        """Take in a chunk, or a whole answer; as a model or as JSON."""
        answer = said(chunk)
        self._id = answer.get("response_id") or self._id
        self._model = answer.get("model_version") or self._model
        usage = said(answer.get("usage_metadata"))
        self._usage.update((name, count) for name, count in usage.items() if count is not None)
        feedback = said(answer.get("prompt_feedback"))
        if feedback.get("block_reason"):
            self._blocked = feedback
        for place, raw in enumerate(answer.get("candidates") or ()):
            candidate = said(raw)
            index = candidate.get("index")
            self._candidates.setdefault(place if index is None else index, _Candidate()).add(candidate)

    def fields(self) -> Fields:
        candidates = [self._candidates[index] for index in sorted(self._candidates)]
        finished = [candidate for candidate in candidates if candidate.finish is not None]
        fields: Fields = {
            "response_id": self._id,
            "response_model": self._model,
            "usage": read_usage(self._usage),
            "output": tuple(candidate.message() for candidate in candidates),
        }
        if not candidates and self._blocked is not None:
            return {**fields, **_blocked(self._blocked)}
        if len(candidates) >= self._asked and len(finished) == len(candidates):
            fields["partial"] = False
        if finished:
            fields["finish_reasons"] = tuple(candidate.reason() or "error" for candidate in candidates)
        return fields


def _blocked(feedback: Mapping[str, Any]) -> Fields:
    """The prompt was refused: there is no candidate, only the reason."""
    parts = (Generic("prompt_feedback", _told(feedback)),)
    return {
        "output": (Message("assistant", parts, finish_reason=_BLOCKED),),
        "finish_reasons": (_BLOCKED,),
        "partial": False,
    }


def read_usage(raw: Any) -> Usage | None:
    """Token counts: input includes what was cached and what tools put into the prompt, output includes thoughts."""
    usage = said(raw)
    if not usage:
        return None
    return Usage(
        _sum(usage, "prompt_token_count", "tool_use_prompt_token_count"),
        _sum(usage, "candidates_token_count", "thoughts_token_count"),
        usage.get("cached_content_token_count"),
        None,
        usage.get("thoughts_token_count"),
        None,
        _of_kind(usage, "prompt_tokens_details", "AUDIO"),
        _of_kind(usage, "candidates_tokens_details", "AUDIO"),
        _of_kind(usage, "prompt_tokens_details", "IMAGE"),
        _of_kind(usage, "candidates_tokens_details", "IMAGE"),
    )


def _of_kind(usage: Mapping[str, Any], name: str, modality: str) -> int | None:
    counts = [said(one) for one in usage.get(name) or ()]
    return sum(one.get("token_count") or 0 for one in counts if word(one.get("modality")) == modality) or None


def _sum(usage: Mapping[str, Any], *names: str) -> int | None:
    counts = [usage[name] for name in names if usage.get(name) is not None]
    return sum(counts) if counts else None
