"""Replay: a recorded run answers the calls of a new one, offline, and reports where the two differ.

`Replay` is the player. `recorded_run` holds the recording and finds the span that answers a call. `difference` describes how
two requests differ. `network_guard` refuses connections that would leave the process. `replay_block` runs a replay in this
process.
"""

from llmtrace.playback.player import Divergence, Replay
from llmtrace.playback.recorded_run import RecordedRun
from llmtrace.playback.replay_block import replay

__all__ = ["Divergence", "RecordedRun", "Replay", "replay"]
