"""The streams: some on which settings are chosen, others on which they are judged.

No seed of one set is in the other. The logs for judging differ from those for choosing in click
rate, severity and noise too, and one family of them, the capacity-bound log, is never chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stream_prune.datasets import capacity_bound, synthetic
from stream_prune.datasets.drift_schedule import drifts_until
from stream_prune.datasets.known_truth import Drift
from stream_prune.features import FeatureSpec

NEVER = 10**12
"""A stream of so many events, of which only the first are drawn, has no drift in them."""


@dataclass(frozen=True)
class Log:
    """A stream with known drifts, or none.

    Attributes:
        name: of its files.
        kind: what draws it, ``synthetic`` or ``capacity-bound``.
        settings: of that.
        rows: events that are drawn.
    """

    name: str
    kind: str
    settings: Any
    rows: int

    @property
    def dataset(self) -> Any:
        """The module that draws it."""
        return {"synthetic": synthetic, "capacity-bound": capacity_bound}[self.kind]

    @property
    def spec(self) -> FeatureSpec:
        spec: FeatureSpec = self.dataset.SPEC
        return spec

    @property
    def drifts(self) -> list[Drift]:
        """Those that begin within the rows."""
        if self.kind == "capacity-bound":
            known = capacity_bound.drifts(self.settings)
        else:
            known = drifts_until(self.rows, self.settings.events)
        return [drift for drift in known if drift.start < self.rows]


def _clicks(seed: int, rows: int, cycle: int, **truth: float) -> Log:
    kind = "quiet" if cycle == NEVER else "clicks"
    settings = synthetic.Settings(events=cycle, seed=seed, **truth)  # type: ignore[arg-type]
    return Log(f"{kind}-{seed}", "synthetic", settings, rows)


def _teacher(seed: int, rows: int, length: int) -> Log:
    settings = capacity_bound.Settings(events=length, seed=seed)
    name = f"{'quiet-' * (length == NEVER)}teacher-{seed}"
    return Log(name, "capacity-bound", settings, rows)


def choosing(quick: bool) -> list[Log]:
    """Logs on which settings are chosen: with drifts first, quiet ones last."""
    rows = 60_000 if quick else 400_000
    drifting = [
        _clicks(10 + i, rows, rows, click_rate=rate, severity=severity)
        for i, (rate, severity) in enumerate(
            [(0.2, 0.5), (0.1, 0.5), (0.3, 0.3), (0.2, 0.3), (0.05, 0.5), (0.2, 0.8)]
        )
    ]
    quiet = [
        _clicks(20 + i, rows if quick else 1_000_000, NEVER, click_rate=rate)
        for i, rate in enumerate((0.2, 0.05))
    ]
    return (drifting[:2] + quiet[:1]) if quick else drifting + quiet


def judging(quick: bool) -> list[Log]:
    """Logs on which nothing is chosen."""
    rows = 60_000 if quick else 400_000
    drifting = [
        _clicks(50 + i, rows, rows, click_rate=rate, severity=severity, noise=noise)
        for i, (rate, severity, noise) in enumerate(
            [
                (0.2, 0.5, 0.02),
                (0.15, 0.6, 0.0),
                (0.25, 0.4, 0.05),
                (0.08, 0.5, 0.02),
                (0.4, 0.7, 0.02),
                (0.03, 0.6, 0.01),
                (0.2, 0.3, 0.02),
            ]
        )
    ]
    teachers = [_teacher(60 + i, rows, rows) for i in range(1 if quick else 3)]
    quiet = [
        _clicks(70 + i, rows if quick else 2_000_000, NEVER, click_rate=rate)
        for i, rate in enumerate((0.2, 0.1, 0.03, 0.4))
    ]
    quiet.append(_teacher(80, rows if quick else 2_000_000, NEVER))
    return (drifting[:2] + teachers + quiet[:1]) if quick else drifting + teachers + quiet
