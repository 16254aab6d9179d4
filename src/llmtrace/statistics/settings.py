"""When each agent first used a model, a system prompt, a set of tools and a version of the code.

Law: the values with which an agent began are not changes, nor are those of a setting that varies from call to call, such as
a prompt that holds the date: it has more than `MOST` values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from llmtrace.model import Inference
from llmtrace.model.value import value
from llmtrace.semconv import SERVICE_NAME, SERVICE_VERSION, VCS_REVISION
from llmtrace.statistics.counted_steps import Step

MOST: Final = 12
"""Values of one setting up to which a new one is a change."""
_MOST_AGENTS: Final = 1000
_LONGEST: Final = 80
"""Characters of a value that are kept."""

Setting: TypeAlias = tuple[str, str]
"""An agent (else the service) and the kind of a setting."""


@value
class Change:
    """The first run of an agent with a new value of a setting."""

    time: int
    """When the run's trace began, in nanoseconds since the Unix epoch."""
    agent: str
    kind: str
    """``model``, ``prompt``, ``tools`` or ``code``."""
    now: str
    """The name of a model, the digest of a prompt or of tools, or a version."""


class Settings:
    """The values of each setting, with the start of the first trace that used them."""

    def __init__(self) -> None:
        self.uses: dict[Setting, dict[str, int]] = {}

    def add(self, step: Step, start: int) -> None:
        """Count the settings of a model call. ``start``: of its trace."""
        inference, resource = step.span.operation, step.span.resource
        if not isinstance(inference, Inference):
            return
        digests = inference.fingerprint
        settings = {
            "model": step.model,
            "prompt": digests and (", ".join(digests.prompts) or digests.system),
            "tools": digests and digests.tools,
            "code": " ".join(str(resource[name])[:12] for name in (SERVICE_VERSION, VCS_REVISION) if resource.get(name)),
        }
        agent = step.agent or str(resource.get(SERVICE_NAME) or "")
        for kind, content in settings.items():
            if content:
                self.merge((agent, kind), {content[:_LONGEST]: start})

    def merge(self, setting: Setting, uses: Mapping[str, int]) -> None:
        """Count values that were counted before."""
        if setting not in self.uses and len(self.uses) >= _MOST_AGENTS:
            return
        starts = self.uses.setdefault(setting, {})
        for content, first in uses.items():
            if content in starts:
                starts[content] = min(starts[content], first)
            elif len(starts) <= MOST:
                starts[content] = first

    def changes(self) -> Iterator[Change]:
        """The changes of each setting."""
        for (agent, kind), uses in self.uses.items():
            if len(uses) <= MOST:
                began = min(uses.values())
                yield from (Change(first, agent, kind, now) for now, first in uses.items() if first > began)
