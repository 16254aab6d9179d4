"""Messages of requests, whatever their form: known parts are known, the rest is kept whole, and nothing raises."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace.instrumentation._openai_messages import read_beside, read_message, read_part, read_usage
from llmtrace.model import Blob, File, Generic, Message, Part, Reasoning, Text, ToolCall, ToolResult, Uri, Usage

DATA = base64.b64encode(b"ABC").decode()


@pytest.mark.parametrize(
    ("raw", "part"),
    [
        ({"type": "text", "text": "Hi"}, Text("Hi")),
        ("Hi", Text("Hi")),
        ({"type": "image_url", "image_url": {"url": "https://x/a.png", "detail": "low"}}, Uri("https://x/a.png", "image")),
        ({"type": "image_url", "image_url": "https://x/a.png"}, Uri("https://x/a.png", "image")),
        ({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}, Blob("image", "image/png", DATA)),
        ({"type": "image_url", "image_url": {"url": "data:image/svg+xml,%41BC"}}, Blob("image", "image/svg+xml", DATA)),
        ({"type": "video_url", "video_url": {"url": "https://x/a.mp4"}}, Uri("https://x/a.mp4", "video")),
        ({"type": "audio_url", "audio_url": {"url": "https://x/a.wav"}}, Uri("https://x/a.wav", "audio")),
        ({"type": "document_url", "document_url": "https://x/a.pdf"}, Uri("https://x/a.pdf", "file")),
        ({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, Blob("audio", "audio/wav", DATA)),
        ({"type": "file", "file": {"file_id": "file-1"}}, File("file-1", "file")),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{DATA}", "filename": "a.pdf"}},
            Blob("file", "application/pdf", DATA),
        ),
        ({"type": "file", "file": {"file_data": DATA}}, Blob("file", None, DATA)),
        ({"type": "refusal", "refusal": "No."}, Generic("refusal", {"content": "No."})),
        ({"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, Reasoning("Hm.")),
        ({"type": "of_tomorrow", "what": [1]}, Generic("of_tomorrow", {"what": [1]})),
        ({"type": "image_url", "image_url": None}, Generic("image_url", {"image_url": None})),
        ({"type": ["odd"]}, Generic("['odd']", {})),
        ({}, Generic("None", {})),
    ],
)
def test_parts(raw: Any, part: Part) -> None:
    """Text, images, audio, video, files, by value and by reference; what has no known form is `Generic`, whole."""
    assert read_part(raw) == part


def test_an_empty_custom_call_beside_a_function_is_nothing() -> None:
    """Some servers send both. Arguments that are missing are None."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    for custom in ({}, {"name": "", "input": ""}, {"name": None, "input": None}, None):
        assert read_message({"role": "assistant", "tool_calls": [{**call, "custom": custom}]}).parts == (
            ToolCall("f", {"a": 1}, "1"),
        )
    missing = {"role": "assistant", "tool_calls": [{"id": "2", "function": {"name": "g"}}]}
    assert read_message(missing).parts == (ToolCall("g", None, "2"),)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"role": "system", "content": "Be kind."}, Message("system", (Text("Be kind."),))),
        ({"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}, Message("developer", (Text("Be kind."),))),
        ({"role": "user", "content": "Hi", "name": "ann"}, Message("user", (Text("Hi"),), "ann")),
        ({"role": "assistant", "content": None}, Message("assistant", ())),
        ({"role": "assistant", "content": "", "audio": {"id": "a1"}}, Message("assistant", (File("a1", "audio"),))),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            Message("assistant", (ToolCall("f", {}, "c"),)),
        ),
        (  # arguments as an object: some servers and histories of other frameworks
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]},
            Message("assistant", (ToolCall("f", {"a": 1}, "c"),)),
        ),
        ({"role": "tool", "tool_call_id": "c", "content": '{"a": 1}'}, Message("tool", (ToolResult('{"a": 1}', "c"),))),
        (
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            Message("tool", (ToolResult("a\nb", "c"),)),
        ),
        ({"role": "function", "name": "f", "content": "1"}, Message("function", (ToolResult("1"),), "f")),
        ({"what": 1}, Message("unknown", (Generic("message", {"what": 1}),))),
        ("odd", Message("unknown", (Generic("message", {"value": "odd"}),))),
    ],
)
def test_messages(raw: Any, message: Message) -> None:
    """Every role; results stay the text that the model was told."""
    assert read_message(raw) == message


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_KEYS = st.sampled_from(
    ["role", "content", "tool_calls", "function_call", "name", "refusal", "audio", "annotations", "tool_call_id"]
)
_PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "refusal", "thinking"]) | _JSON},
    optional=dict.fromkeys(("text", "image_url", "input_audio", "file", "refusal", "thinking"), _JSON),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEYS, _JSON | st.lists(_PARTS, max_size=3), max_size=6) | _JSON)
def test_no_message_raises(raw: Any) -> None:
    """Whatever stands in a message list becomes a message."""
    assert isinstance(read_message(raw), Message)


def test_usage_of_other_servers() -> None:
    """DeepSeek's name for cached tokens; absent numbers stay unknown, zero stays zero."""
    assert read_usage({"prompt_tokens": 5, "completion_tokens": 0, "prompt_cache_hit_tokens": 3}) == Usage(5, 0, 3)
    assert read_usage({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}}) == Usage(5, None, 0)
    assert read_usage(None) is None


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -0.1, 10**400, True, "1", {"total_cost": float("nan")}])
def test_a_bill_that_cannot_be_is_none(cost: Any) -> None:
    assert read_beside({"usage": {"cost": cost}}) == {}
    assert read_beside({"usage": {"is_byok": True, "cost": 0.1, "cost_details": {"upstream_inference_cost": cost}}}) == {}
    assert read_beside({"usage": {"cost": 0}}) == {"cost_usd": 0.0}


def test_reasoning_that_a_server_counts_beside_the_output_is_output() -> None:
    """xAI's total tells; elsewhere it is within."""
    beside = {"reasoning_tokens": 94}
    counts = {"prompt_tokens": 32, "completion_tokens": 9, "completion_tokens_details": beside}
    assert read_usage({**counts, "total_tokens": 135}) == Usage(32, 103, None, None, 94)
    assert read_usage({**counts, "completion_tokens": 103, "total_tokens": 135}) == Usage(32, 103, None, None, 94)


def test_audio_and_images_are_counted_where_there_are_any() -> None:
    """A zero is none of them."""
    read = {"cached_tokens": 0, "audio_tokens": 7, "image_tokens": 0}
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": read}
    assert read_usage({**usage, "completion_tokens_details": {"audio_tokens": 4, "image_tokens": 1}}) == Usage(
        9, 5, 0, audio_input_tokens=7, audio_output_tokens=4, image_output_tokens=1
    )
