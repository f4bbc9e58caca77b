"""A stream on which width pays: labels drawn from a teacher network that drifts three times.

Source: generated here; nothing is downloaded. Licence: none needed.

16 independent standard Gaussian inputs; a teacher with two hidden layers of 96 units (ReLU, then
tanh) gives the log-odds of the label. At 40, 60 and 80 % of the stream half of the units of each
hidden layer are replaced, with all weights into and out of them. Every input matters, nothing
repeats, so a student is bound by its capacity and not by how often it sees an id.

The scale: each teacher's output is centred and scaled so that the Bayes NE, the least that a model
can reach, is .521 over a fixed sample of inputs: the same before and after every drift. (Log-odds
from N(0, 3^2) would have .520; the teachers' are no Gaussians, and their deviation is about 2.9.)
How far a student stays from that is set by the second layer's weights: with these an MLP of 256-256
has an NE of .583 up to the first drift, one of 56-56, with 6 % of its MACs, .590.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from stream_prune.datasets.event_file import event_path
from stream_prune.datasets.known_truth import (
    BAYES,
    BLOCK,
    START_MS,
    Drift,
    Floats,
    bayes_ne,
    generator,
    logistic,
    root,
    write_stream,
)
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "capacity-bound: 1,500,000 labels of a drifting teacher network over 16 Gaussian inputs, Bayes "
    "NE .52; generated, no licence needed"
)
LAYOUT = 1
"""Raised whenever equal settings would give another stream, so that older files are replaced."""

INPUTS = 16
UNITS = 96
BAYES_NE = 0.521
OUTER = 2.12
"""Deviation of the second layer's weights, times the root of its width."""
DRIFTS_AT = (0.4, 0.6, 0.8)
CALIBRATION_ROWS = 1 << 15
_DRAWS, _TEACHER, _CALIBRATION = range(3)

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "label",
        "dense": [f"x{i:02}" for i in range(INPUTS)],
        # A model of click logs has a categorical column; this one always says the same.
        "categorical": ["constant"],
    }
)


@dataclass(frozen=True)
class Settings:
    """All that decides the stream.

    Attributes:
        events: length of the whole stream, which says when the drifts come.
        seed: of inputs, teachers and labels.
        interval_ms: event time from one event to the next.
    """

    events: int = 1_500_000
    seed: int = 0
    interval_ms: int = 1_000


@dataclass(frozen=True)
class Teacher:
    """Weights of the teacher, K = 96 units a layer: inner [K, 16 + 1], outer [K, K + 1], last [K].

    The last column of ``inner`` and of ``outer`` is the bias; the output is ``scale`` times what it
    is above ``mean``.
    """

    inner: Floats
    outer: Floats
    last: Floats
    mean: float = 0.0
    scale: float = 1.0

    def log_odds(self, x: Floats) -> Floats:
        """The label's log-odds [B] for inputs [16, B]."""
        hidden = np.maximum(self.inner[:, :-1] @ x + self.inner[:, -1:], 0)
        hidden = np.tanh(self.outer[:, :-1] @ hidden + self.outer[:, -1:])
        scaled: Floats = (self.last @ hidden - np.float32(self.mean)) * np.float32(self.scale)
        return scaled


def prepare(
    folder: str | Path, rows: int | None = None, settings: Settings | None = None
) -> list[Path]:
    """Write the first ``rows`` events (all by default) as one Parquet file in ``folder``.

    The times of the drifts lie in a JSON file beside it. Files that are there already, of the same
    settings and the same code, are left as they are.

    Raises:
        ConfigError: ``rows`` is below 1.
    """
    settings = settings or Settings()
    path = event_path(folder, "capacity-bound", rows)
    rows = settings.events if rows is None else rows
    write_stream(
        path,
        settings,
        lambda number: block(settings, number),
        rows,
        [drift for drift in drifts(settings) if drift.start < rows],
        settings.interval_ms,
        LAYOUT,
    )
    return [path]


def drifts(settings: Settings) -> list[Drift]:
    """The three drifts of the stream; after the last one it stays as it is."""
    starts = [round(share * settings.events) for share in DRIFTS_AT]
    return [Drift("abrupt", start, start, i + 1) for i, start in enumerate(starts)]


def block(settings: Settings, number: int) -> pa.Table:
    """The events [BLOCK] of a block: the columns of :data:`SPEC`, and ``bayes_probability``."""
    rng = generator(settings.seed, _DRAWS, number)
    x = rng.standard_normal((INPUTS, BLOCK), np.float32)
    events = np.arange(number * BLOCK, (number + 1) * BLOCK)
    concept = np.searchsorted([drift.start for drift in drifts(settings)], events, side="right")
    probability = np.empty(BLOCK, np.float32)
    for which in np.unique(concept):
        rows = concept == which
        probability[rows] = logistic(teacher(settings.seed, int(which)).log_odds(x[:, rows]))
    time = pa.array(START_MS + events * settings.interval_ms)
    return pa.table(
        {
            "time": time.cast(pa.timestamp("ms", tz="UTC")),
            "label": (rng.random(BLOCK, np.float32) < probability).astype(np.int8),
            **{column.name: x[i] for i, column in enumerate(SPEC.dense)},
            "constant": np.zeros(BLOCK, np.int64),
            BAYES: probability,
        }
    )


@lru_cache(maxsize=16)
def teacher(seed: int, concept: int) -> Teacher:
    """The teacher after ``concept`` drifts: half of each hidden layer's units differ per drift."""
    inner, outer, last = _draw(seed, 0)
    for drift in range(1, concept + 1):
        rng = generator(seed, _TEACHER, drift, 1)
        first, second = (rng.permutation(UNITS) < UNITS // 2 for _ in range(2))
        other_inner, other_outer, other_last = _draw(seed, drift)
        inner = np.where(first[:, None], other_inner, inner)
        # A weight between the layers is new if the unit on either side is; a bias has one side.
        new = second[:, None] | np.append(first, False)
        outer = np.where(new, other_outer, outer)
        last = np.where(second, other_last, last)
    x = generator(seed, _CALIBRATION).standard_normal((INPUTS, CALIBRATION_ROWS), np.float32)
    raw = Teacher(inner, outer, last).log_odds(x)
    mean, deviation = float(raw.mean()), float(raw.std())
    centred = (raw - np.float32(mean)) / np.float32(deviation)
    deviations = root(
        lambda by: BAYES_NE - bayes_ne(logistic(centred * np.float32(by))), low=0.1, high=20
    )
    return Teacher(inner, outer, last, mean, deviations / deviation)


def _draw(seed: int, drift: int) -> tuple[Floats, Floats, Floats]:
    """Independent Gaussian weights; both hidden layers get inputs of a variance of 1 or more."""
    rng = generator(seed, _TEACHER, drift, 0)
    inner = rng.standard_normal((UNITS, INPUTS + 1), np.float32) / np.float32(INPUTS**0.5)
    outer = rng.standard_normal((UNITS, UNITS + 1), np.float32) * np.float32(OUTER / UNITS**0.5)
    return inner, outer, rng.standard_normal(UNITS, np.float32)
