"""The canary: asks an endpoint the same questions again, and tests if its answers have changed.

`probes` reads the questions, `endpoint` asks them, `sample` measures an answer, `baseline` is the file with questions and
measurements, `compare` tests new answers against it (by `statistics.two_samples`), and `asking` asks until that is decided.
`border` finds questions whose first token is nearly a tie.
"""

from llmtrace.canary.baseline import Baseline, Observed
from llmtrace.canary.compare import LEVEL, Comparison, Metric, compare
from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import Probe

__all__ = ["LEVEL", "Baseline", "Comparison", "Endpoint", "Metric", "Observed", "Probe", "compare"]
