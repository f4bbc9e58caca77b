"""Runs over the same log beside each other: made side by side, compared window by window."""
