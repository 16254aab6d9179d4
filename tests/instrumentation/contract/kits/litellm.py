"""litellm: completion and acompletion, by OpenAI's client below. Answers are those of the kit of openai."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or importing it asks the network for a table of prices

import litellm
import pydantic
from kit import MODEL, Question
from kits.openai import OpenAI, _request


@dataclass(frozen=True)
class Client:
    """What a program would give to each call."""

    url: str
    asynchronous: bool
    retries: int

    def ask(self, question: Question, **more: Any) -> Any:
        call = litellm.acompletion if self.asynchronous else litellm.completion
        request = {**_request(question), "model": f"openai/{MODEL}", "api_base": f"{self.url}/v1", "api_key": "sk-test"}
        return call(**request, max_retries=self.retries, **more)


class LiteLLM(OpenAI):
    name = "litellm"
    library = "litellm"
    provider = "openai"
    has_choices = False
    """It has, but leaves the finish reasons of all but the first out of its streams."""

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        litellm.suppress_debug_info = True
        litellm.in_memory_llm_clients_cache.flush_cache()
        return Client(url, asynchronous, retries)

    def close(self, client: Any) -> Any:
        return None

    def ask(self, client: Any, question: Question) -> Any:
        return client.ask(question)

    def stream(self, client: Any, question: Question) -> Any:
        return client.ask(question, stream=True, stream_options={"include_usage": True})

    def seen(self, answer: Any) -> Any:
        assert isinstance(answer, pydantic.BaseModel)
        fields = answer.model_dump()
        fields.pop("created", None)
        if fields.get("id") != "chatcmpl-1":
            fields["id"] = "made up by litellm"
        return type(answer).__qualname__, fields


def warm_up() -> None:
    """Have litellm build its models of answers, over whose annotations pydantic warns; once, and not in a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litellm.Router(model_list=[])
        list(litellm.completion("openai/any", [{"role": "user", "content": ""}], mock_response="any", stream=True))


warm_up()

KIT = LiteLLM()
