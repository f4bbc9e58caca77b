"""A drifting click log with a known truth, at any scale.

Source: generated here; nothing is downloaded. Licence: none needed.

13 dense inputs (the first six log-normal, the others normal) and 26 categorical ones of 4 to 50,000
living ids, popular by Zipf's law, born and dying (:mod:`stream_prune.datasets.living_ids`). Clicks
are drawn from a concept (:mod:`stream_prune.datasets.click_truth`), then flipped with probability
``noise``. On one core 440,000 events/s are written, 1.1 M/s drawn.

In every ``events`` events are six drifts (:mod:`stream_prune.datasets.drift_schedule`): two abrupt,
two of the inputs alone, a gradual and a recurring one.

A label counts as known ten minutes (600 events) after its event; another delay is another
specification: ``dataclasses.replace(SPEC, label_delay_ms=...)``, or a configuration's ``features``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from stream_prune.datasets.click_truth import (
    DENSE,
    Concept,
    Inputs,
    Traits,
    calibrated,
    concept,
)
from stream_prune.datasets.drift_schedule import drifts_until
from stream_prune.datasets.event_file import event_path
from stream_prune.datasets.known_truth import (
    BAYES,
    BLOCK,
    START_MS,
    Drift,
    Floats,
    generator,
    write_stream,
)
from stream_prune.datasets.living_ids import FIELDS, ID_COUNTS, Ids, draw_ids
from stream_prune.errors import ConfigError
from stream_prune.features import FeatureSpec

DESCRIPTION = (
    "synthetic: 1,500,000 clicks (any number with --rows), 13 dense and 26 categorical columns, "
    "drifts at known times, Bayes probability known; generated, no licence needed"
)
LAYOUT = 1
"""Raised whenever equal settings would give another stream, so that older files are replaced."""

SKEWED = 6
"""Dense columns that are log-normal."""

_DRAWS, _CONCEPTS, _TRAITS, _SHIFTS, _LIVES = range(5)

SPEC = FeatureSpec.from_dict(
    {
        "event_time": "time",
        "label": "clicked",
        "label_delay": "10min",
        "dense": [
            {"name": f"dense_{i:02}", "transform": "log1p" if i < SKEWED else "identity"}
            for i in range(DENSE)
        ],
        "categorical": [f"cat_{i:02}" for i in range(FIELDS)],
    }
)


@dataclass(frozen=True)
class Settings:
    """All that decides the stream.

    Attributes:
        events: after so many the schedule of drifts begins again.
        seed: of everything that is drawn.
        interval_ms: event time from one event to the next.
        lifetime: for how many events an id of the quickest fields lives.
        click_rate: mean P(click) of every concept before noise, under the first inputs.
        signal: standard deviation of the log-odds, before noise.
        severity: share of the weights that a concept has of its own.
        noise: probability that a label is flipped.
    """

    events: int = 1_500_000
    seed: int = 0
    interval_ms: int = 1_000
    lifetime: int = 50_000
    click_rate: float = 0.2
    signal: float = 2.0
    severity: float = 0.5
    noise: float = 0.02

    def __post_init__(self) -> None:
        for name in ("events", "interval_ms", "lifetime", "signal"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"synthetic: {name} = {getattr(self, name)}: must be above 0")
        for name, high in (("severity", 1), ("noise", 0.5)):
            if not 0 <= getattr(self, name) <= high:
                raise ConfigError(
                    f"synthetic: {name} = {getattr(self, name)}: must be in [0, {high}]"
                )
        if not 0 < self.click_rate < 1:
            raise ConfigError(f"synthetic: click_rate = {self.click_rate}: must be in (0, 1)")


def prepare(
    folder: str | Path, rows: int | None = None, settings: Settings | None = None
) -> list[Path]:
    """Write the first ``rows`` events as one Parquet file in ``folder``.

    By default they are as many as the schedule of drifts is long. The times of the drifts lie in a
    JSON file beside it. Files that are there already, of the same settings and the same code, are
    left as they are.

    Raises:
        ConfigError: ``rows`` is below 1.
    """
    settings = settings or Settings()
    path = event_path(folder, "synthetic", rows)
    rows = settings.events if rows is None else rows
    write_stream(
        path,
        settings,
        lambda number: block(settings, number),
        rows,
        drifts_until(rows, settings.events),
        settings.interval_ms,
        LAYOUT,
    )
    return [path]


def block(settings: Settings, number: int) -> pa.Table:
    """The events [BLOCK] of a block: the columns of :data:`SPEC`, and ``bayes_probability``."""
    rng = generator(settings.seed, _DRAWS, number)
    first, stop = number * BLOCK, (number + 1) * BLOCK
    known = drifts_until(stop, settings.events)
    dense = rng.standard_normal((DENSE, BLOCK), np.float32)
    uniform = rng.random((FIELDS, BLOCK), np.float32)
    ids = np.empty((FIELDS, BLOCK), np.int64)
    covariate = [drift.start for drift in known if drift.kind == "covariate"]
    for start, end, passed in _pieces(first, stop, covariate):
        rows = slice(start - first, end - first)
        means, popular = _shift(settings.seed, passed)
        dense[:, rows] += means[:, None]
        ids[:, rows] = _ids(settings, uniform[:, rows], popular, start)
    inputs = _inputs(settings, dense, ids)
    probability = _noisy(settings, _probability(settings, inputs, first, known))
    np.exp(dense[:SKEWED], out=dense[:SKEWED])
    time = pa.array(START_MS + np.arange(first, stop) * settings.interval_ms)
    return pa.table(
        {
            "time": time.cast(pa.timestamp("ms", tz="UTC")),
            "clicked": (rng.random(BLOCK, np.float32) < probability).astype(np.int8),
            **{column.name: dense[i] for i, column in enumerate(SPEC.dense)},
            **{column.name: ids[i] for i, column in enumerate(SPEC.categorical)},
            BAYES: probability,
        }
    )


def truth(settings: Settings, events: pa.Table, number: int) -> Floats:
    """P(label = 1) [B] that a concept gives to events [B], whichever they were drawn from.

    Args:
        settings: of the stream.
        events: from :func:`block` or from an event file.
        number: of the concept; see :attr:`Drift.concept`.
    """
    dense = np.stack([events[column.name].to_numpy() for column in SPEC.dense])
    dense[:SKEWED] = np.log(dense[:SKEWED])
    ids = np.stack([events[column.name].to_numpy() for column in SPEC.categorical])
    return _noisy(settings, _concept(settings, number).probability(_inputs(settings, dense, ids)))


def _noisy(settings: Settings, probability: Floats) -> Floats:
    return probability + np.float32(settings.noise) * (1 - 2 * probability)


def _pieces(first: int, stop: int, cuts: list[int]) -> Iterator[tuple[int, int, int]]:
    """[first, stop) cut at ``cuts``: start, end, and how many cuts lie at or before the start."""
    bounds = [first, *(cut for cut in cuts if first < cut < stop), stop]
    for start, end in pairwise(bounds):
        yield start, end, sum(cut <= start for cut in cuts)


def _ids(settings: Settings, uniform: Floats, popular: Ids, first: int) -> Ids:
    return draw_ids(uniform, first, popular, settings.lifetime, (settings.seed, _LIVES))


@lru_cache(maxsize=16)
def _shift(seed: int, passed: int) -> tuple[Floats, Ids]:
    """Means of the dense inputs [13] and the most popular slots [26] after so many shifts."""
    if passed == 0:
        return np.zeros(DENSE, np.float32), np.zeros(FIELDS, np.int64)
    rng = generator(seed, _SHIFTS, passed)
    return rng.standard_normal(DENSE, np.float32) * np.float32(0.5), rng.integers(ID_COUNTS)


def _inputs(settings: Settings, dense: Floats, ids: Ids) -> Inputs:
    traits = _traits(settings.seed)
    first, second = (np.empty(ids.shape, np.float32) for _ in range(2))
    for field in range(FIELDS):
        first[field], second[field] = traits.of(field, ids[field])
    return Inputs(dense, first, second)


@lru_cache(maxsize=4)
def _traits(seed: int) -> Traits:
    return Traits(generator(seed, _TRAITS))


def _probability(settings: Settings, inputs: Inputs, first: int, known: list[Drift]) -> Floats:
    """P(click) [B] of the events from ``first`` on, before noise."""
    stop = first + inputs.dense.shape[1]
    changes = [drift for drift in known if drift.kind != "covariate"]
    cuts = sorted({at for drift in changes for at in (drift.start, drift.end)})
    probability = np.empty(stop - first, np.float32)
    for start, end, _ in _pieces(first, stop, cuts):
        rows = slice(start - first, end - first)
        passed = [drift for drift in changes if drift.start <= start]
        now = passed[-1] if passed else Drift("abrupt", 0, 0, 0)
        inside = inputs.rows(rows)
        probability[rows] = _concept(settings, now.concept).probability(inside)
        if start < now.end:
            before = passed[-2].concept if len(passed) > 1 else 0
            old = _concept(settings, before).probability(inside)
            share = (np.arange(start, end) - now.start) / (now.end - now.start)
            probability[rows] = old + share.astype(np.float32) * (probability[rows] - old)
    return probability


@lru_cache(maxsize=16)
def _concept(settings: Settings, number: int) -> Concept:
    """Calibrated on events as they are when the stream begins."""
    rng = generator(settings.seed, _CONCEPTS)
    dense = rng.standard_normal((DENSE, BLOCK), np.float32)
    uniform = rng.random((FIELDS, BLOCK), np.float32)
    ids = _ids(settings, uniform, _shift(settings.seed, 0)[1], 0)
    drawn = concept((settings.seed, _CONCEPTS), number, settings.severity)
    return calibrated(drawn, _inputs(settings, dense, ids), settings.signal, settings.click_rate)
