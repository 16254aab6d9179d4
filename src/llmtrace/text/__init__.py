"""Words, numbers, dates and names in texts: each idea once, for all rooms above."""
