"""The canary: ask an endpoint the same questions again, and test whether its answers have changed.

`probes` are the questions, `endpoint` asks them, `sample` measures an answer, `baseline` is the file that holds both, and
`compare` tests the new answers against it (`statistics.two_samples`). `border` finds questions whose first token is a near tie.
"""

from llmtrace.canary.baseline import Baseline, Observed
from llmtrace.canary.compare import LEVEL, Comparison, Metric, compare
from llmtrace.canary.endpoint import Endpoint
from llmtrace.canary.probes import Probe

__all__ = ["LEVEL", "Baseline", "Comparison", "Endpoint", "Metric", "Observed", "Probe", "compare"]
