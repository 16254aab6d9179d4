"""How long the page's main thread was busy at a stretch, as the browser itself reports it."""

from __future__ import annotations

from typing import Any

KEYS = "e j k l h PageDown PageUp End Home c End Home j e w + - , . z z b B r r 1 E".split()  # noqa: SIM905
"""Every key that draws something, in waterfall and conversation."""

_OBSERVE = """
window.longestBlock = 0;
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.longestBlock = Math.max(window.longestBlock, task.duration);
}).observe({ type: "longtask", buffered: true });
"""
_SETTLED = 250


class LongestBlock:
    """Create it before the page is opened."""

    def __init__(self, page: Any) -> None:
        self._page = page
        page.add_init_script(_OBSERVE)

    def read(self) -> float:
        """Milliseconds of the longest task since the last call; 0 if none took 50 ms, which is what browsers report."""
        self._page.wait_for_timeout(_SETTLED)
        longest: float = self._page.evaluate("longestBlock")
        self._page.evaluate("longestBlock = 0")
        return longest
