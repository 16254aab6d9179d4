"""What the checks of a diagnosis covered."""

from llmtrace.diagnosis.checks import all_checks
from llmtrace.diagnosis.result import Diagnosis


def is_judged(diagnosis: Diagnosis) -> bool:
    """True if a check ran that looks at calls or answers, and not only at how the run ended."""
    names = {check.name for check in all_checks() if check.needs}
    return not names.isdisjoint(diagnosis.checked)
