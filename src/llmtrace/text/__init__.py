"""Recognizes words, numbers, dates and names in texts. All other packages use these functions."""
