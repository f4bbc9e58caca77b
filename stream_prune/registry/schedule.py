"""When a run's next model is due: told from its journal, at a durable checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stream_prune.registry.publishing import Publishing

RESIZES = ("shrink", "grow", "derive", "rewire", "revert")


class Schedule:
    """Hears the lines of a journal, and says whether a checkpoint is due to be published.

    Args:
        settings: when to publish.
        published: the last step that was.
    """

    def __init__(self, settings: Publishing, published: int = -1) -> None:
        self._settings = settings
        self._published = published
        self._windows: list[int] = []
        self._resizes: list[tuple[int, bool]] = []
        self._budget = float("inf")
        self._ended = -1

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take in a line of the journal."""
        kind, step = line["kind"], int(line["step"])
        if kind == "start":
            share = ((line["config"].get("sparsity") or {}).get("budget") or {}).get("macs")
            dense = line.get("dense_macs_inference")
            if share is not None and dense is not None:
                self._budget = share * dense
        elif kind == "end":
            self._ended = step
        elif step > self._published:
            if kind == "window":
                self._windows.append(step)
            elif kind in RESIZES:
                self._resizes.append((step, line["macs_after"] <= self._budget))

    def due(self, checkpoint: int) -> str | None:
        """Why the checkpoint of this step is to be published; None if it is not."""
        if checkpoint <= self._published:
            return None
        every = self._settings.every_windows
        windows = sum(step <= checkpoint for step in self._windows)
        if every is not None and windows >= every:
            return f"{windows} windows since the last one"
        if self._settings.after_readjustment and self._settled(checkpoint):
            return "re-adjusted"
        if self._settings.at_end and checkpoint == self._ended:
            return "the end of the log"
        return None

    def built(self, checkpoint: int) -> None:
        """The checkpoint of this step was taken."""
        self._published = checkpoint
        self._windows = [step for step in self._windows if step > checkpoint]
        self._resizes = [entry for entry in self._resizes if entry[0] > checkpoint]

    def _settled(self, checkpoint: int) -> bool:
        """Whether the model was resized since, and is back within its budget."""
        known = [within for step, within in self._resizes if step <= checkpoint]
        return bool(known) and known[-1]
