"""The history of a stream in a bounded number of blocks of calls, for a sparkline.

Law: at most `BLOCKS` blocks; when they are full, neighbours are joined, so that each always holds equally many calls but the
last.
"""

from __future__ import annotations

from typing import Any

BLOCKS = 32


class History:
    __slots__ = ("blocks", "size")

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.size: int = state["size"] if state else 1
        """Calls in a block."""
        self.blocks: list[list[Any]] = state["blocks"] if state else []
        """Time of the first call (nanoseconds since the Unix epoch), number of calls, sum of the values."""

    def state(self) -> dict[str, Any]:
        return {"size": self.size, "blocks": self.blocks}

    def add(self, time: int, value: float) -> None:
        if self.blocks and self.blocks[-1][1] < self.size:
            last = self.blocks[-1]
            last[1] += 1
            last[2] = round(last[2] + value, 6)
            return
        if len(self.blocks) == BLOCKS:
            pairs = zip(self.blocks[::2], self.blocks[1::2], strict=True)
            self.blocks = [[first[0], first[1] + second[1], round(first[2] + second[2], 6)] for first, second in pairs]
            self.size *= 2
        self.blocks.append([time, 1, round(value, 6)])
