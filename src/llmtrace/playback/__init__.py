"""Replay: a recorded run answers the calls of a new one, offline, and reports where the two differ.

`Replay` is the player. `permissions` is the one table of what may run for real, and `ways_out` refuses the rest: connections,
and other programs. `recorded_run` holds the recording and finds the span that answers a call. `progress` is how far the replay
has come, for all processes of the program. `difference` describes how two requests differ. `replay_block` runs a replay in this
process.
"""

from llmtrace.playback.player import Replay
from llmtrace.playback.progress import Divergence
from llmtrace.playback.recorded_run import RecordedRun
from llmtrace.playback.replay_block import replay

__all__ = ["Divergence", "RecordedRun", "Replay", "replay"]
