"""A second opinion by a model, on request: it gets the first suspects of a diagnosis, and its opinions are shown beside them.

`prompt` builds the question and reads the answer; `endpoint` sends it. Law: one question per diagnosis, limited in size and
time. The model's answer is data: read strictly, never run. It changes neither the confidence nor the order of suspects. Nothing
is recorded: no span is made, and no store is written.
"""

from llmtrace.diagnosis import Diagnosis
from llmtrace.judge.endpoint import Endpoint
from llmtrace.judge.prompt import MOST_ASKED, SCHEMA, Opinion, Subject, messages_for, read
from llmtrace.model.value import value
from llmtrace.reading.graph import Graph

__all__ = ["MOST_ASKED", "Endpoint", "Judged", "Opinion", "judge"]


@value
class Judged:
    model: str
    opinions: tuple[Opinion, ...] = ()
    """In the order of the suspects, then of the places."""
    input_tokens: int | None = None
    output_tokens: int | None = None


def judge(diagnosis: Diagnosis, graph: Graph, endpoint: Endpoint) -> Judged:
    """Return the model's opinions on the first suspects and places. ``graph`` is that of the same trace. Raises JudgeFailed.
    Sends nothing if there is neither a suspect nor a place."""
    subjects = subjects_of(diagnosis)
    if not subjects:
        return Judged(endpoint.model)
    answer = endpoint.ask(messages_for(subjects, graph), SCHEMA)
    return Judged(endpoint.model, read(answer.text, subjects), answer.input_tokens, answer.output_tokens)


def subjects_of(diagnosis: Diagnosis) -> tuple[Subject, ...]:
    """Return the subjects of the question: suspects, then places that no suspect names, at most `MOST_ASKED`."""
    suspected = {suspect.span_id for suspect in diagnosis.suspects}
    subjects: list[Subject] = [*diagnosis.suspects]
    subjects += (place for place in diagnosis.places if place.span_id not in suspected)
    return tuple(subjects[:MOST_ASKED])
