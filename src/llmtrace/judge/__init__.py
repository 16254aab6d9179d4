"""A second opinion by a model, for whoever asks for it: the top suspects of a diagnosis go to one, its verdict is merged.

`prompt` says what it is shown, `endpoint` asks, `verdict` reads the answer, `merging` joins it with the evidence. Law: one
question a diagnosis, bounded in size and time; what the model says is data: read strictly, never run, and it moves a
probability half the way at most. Nothing of it is recorded: no span is made, and no store is written.
"""

from llmtrace.diagnosis import Diagnosis
from llmtrace.diagnosis.flow import Flow
from llmtrace.judge.endpoint import Endpoint
from llmtrace.judge.merging import Judged, Opinion, merged
from llmtrace.judge.prompt import MOST_ASKED, messages_for
from llmtrace.judge.verdict import SCHEMA, read

__all__ = ["MOST_ASKED", "Endpoint", "Judged", "Opinion", "judge"]


def judge(diagnosis: Diagnosis, flow: Flow, endpoint: Endpoint) -> Judged:
    """The diagnosis with the model's verdict. ``flow`` is that of its trace. Raises JudgeFailed; asks nothing where there is no
    suspect."""
    asked = diagnosis.suspects[:MOST_ASKED]
    if not asked:
        return Judged(endpoint.model, diagnosis)
    answer = endpoint.ask(messages_for(asked, flow), SCHEMA)
    return merged(endpoint.model, diagnosis, read(answer.text, len(asked)), answer)
