"""Replay: a recorded run answers the calls of a new one, offline, and says where the two differ.

`Replay` is the player; `recorded_run` holds the recording and finds the span that answers a call; `difference` says how two
requests differ; `network_guard` refuses what would leave the process; `session` runs a replay in this process.
"""

from llmtrace.replay.player import Divergence, Replay
from llmtrace.replay.recorded_run import RecordedRun
from llmtrace.replay.session import replay

__all__ = ["Divergence", "RecordedRun", "Replay", "replay"]
