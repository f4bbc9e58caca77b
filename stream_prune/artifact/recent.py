"""The last windows of a run as they were scored before they were learned.

They travel with the artifact, so that a later model can be compared with it on the same windows,
also on those that it has learned since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream_prune.evaluation.entropy import normalized_entropy

RECENT = "recent"
"""Its key among the metrics of an artifact."""
KEPT = 50
"""The most windows that are kept."""


@dataclass(frozen=True)
class JudgedWindow:
    """One window: its end (ms), labelled rows, positives, and the sum of their logloss (nats)."""

    end: int
    labelled: int
    positives: int
    loss: float


def recent_windows(lines: Iterable[Mapping[str, Any]], step: int) -> list[JudgedWindow]:
    """The last windows with labels that a journal tells up to a step.

    Args:
        lines: of the journal.
        step: of the checkpoint.
    """
    found = [
        JudgedWindow(
            int(line["window_end"]),
            int(line["labelled"]),
            int(line["positives"]),
            float(line["logloss"]) * int(line["labelled"]),
        )
        for line in lines
        if line["kind"] == "window" and line["step"] <= step and line.get("logloss") is not None
    ]
    return found[-KEPT:]


def to_metrics(windows: Sequence[JudgedWindow]) -> dict[str, list[float]]:
    """As lists of numbers, for a model card."""
    return {
        "end": [window.end for window in windows],
        "labelled": [window.labelled for window in windows],
        "positives": [window.positives for window in windows],
        "loss": [float(f"{window.loss:.9g}") for window in windows],
    }


def from_metrics(metrics: Mapping[str, Any]) -> list[JudgedWindow]:
    """The windows of a model card's metrics, oldest first; none where it has none."""
    held = metrics.get(RECENT) or {}
    columns = [held.get(name, []) for name in ("end", "labelled", "positives", "loss")]
    return [
        JudgedWindow(int(end), int(labelled), int(positives), float(loss))
        for end, labelled, positives, loss in zip(*columns, strict=True)
    ]


def ne_of(windows: Sequence[JudgedWindow]) -> float | None:
    """Normalized entropy over windows, by their own base rate; None where that is 0 or 1."""
    rows = sum(window.labelled for window in windows)
    if not rows:
        return None
    loss = sum(window.loss for window in windows) / rows
    return normalized_entropy(loss, sum(window.positives for window in windows), rows)
