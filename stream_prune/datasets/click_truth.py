"""The truth behind the synthetic click log: what an id is worth, and concepts of P(click | inputs).

An id's two traits are fixed for its life. A concept says how they, pairs of them, and the dense
inputs decide the log-odds of a click, so a drift changes what a model should make of its rows, and
an id's death what the row is for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from stream_prune.datasets.known_truth import Floats, generator, logistic, root
from stream_prune.datasets.living_ids import FIELDS, Ids

DENSE, PAIRS, WAVES = 13, 13, 12
_TRAIT_BITS = 12
_MIX = tuple(np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9))


class Traits:
    """Two numbers an id, as good as drawn from N(0, 1), from a hash of field and id: no table of
    ids is kept, so there may be any number of them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._salt = rng.integers(1 << 63, size=FIELDS, dtype=np.uint64)
        self._values = rng.standard_normal(1 << _TRAIT_BITS, np.float32)

    def of(self, field: int, ids: Ids) -> tuple[Floats, Floats]:
        """First and second trait [B] of ids [B] of a field."""
        mixed = (ids.view(np.uint64) + self._salt[field]) * _MIX[0]
        mixed ^= mixed >> np.uint64(29)
        mixed *= _MIX[1]
        mixed ^= mixed >> np.uint64(32)
        mask = np.uint64((1 << _TRAIT_BITS) - 1)
        return (
            self._values[mixed & mask],
            self._values[(mixed >> np.uint64(_TRAIT_BITS)) & mask],
        )


@dataclass(frozen=True)
class Inputs:
    """What the truth sees of B events: dense [13, B], first and second traits [26, B] each."""

    dense: Floats
    first: Floats
    second: Floats

    def rows(self, which: slice) -> Inputs:
        """Some of the events."""
        return Inputs(self.dense[:, which], self.first[:, which], self.second[:, which])


@dataclass(frozen=True)
class Concept:
    """P(click | inputs): weights of the traits [26] each, of pairs of fields [13] (field i with
    field i + 13), and of waves, tanh of directions [12, 13 + 1] of the dense inputs [12]."""

    first: Floats
    second: Floats
    pairs: Floats
    directions: Floats
    waves: Floats
    scale: float = 1.0
    shift: float = 0.0

    def probability(self, inputs: Inputs) -> Floats:
        """P(click) [B]."""
        return logistic(self.log_odds(inputs))

    def log_odds(self, inputs: Inputs) -> Floats:
        """[B]."""
        waves = np.tanh(self.directions[:, :-1] @ inputs.dense + self.directions[:, -1:])
        raw = self.first @ inputs.first + self.second @ inputs.second + self.waves @ waves
        raw += self.pairs @ (inputs.first[:PAIRS] * inputs.second[PAIRS:])
        return np.asarray(raw * np.float32(self.scale) + np.float32(self.shift))


def concept(seed: tuple[int, ...], number: int, severity: float) -> Concept:
    """The concept of a number: the stream's common one with a share ``severity`` of its own.

    Args:
        seed: of the stream, and the place of its concepts.
        number: 0 is the common one.
        severity: share of fields, pairs and waves with other weights, in [0, 1].
    """
    common = _draw(generator(*seed, 0))
    if number == 0:
        return common
    rng = generator(*seed, number)
    own = _draw(rng)

    def chosen(units: int) -> npt.NDArray[np.bool_]:
        return rng.permutation(units) < round(severity * units)

    fields, pairs, waves = chosen(FIELDS), chosen(PAIRS), chosen(WAVES)
    return Concept(
        np.where(fields, own.first, common.first),
        np.where(fields, own.second, common.second),
        np.where(pairs, own.pairs, common.pairs),
        np.where(waves[:, None], own.directions, common.directions),
        np.where(waves, own.waves, common.waves),
    )


def calibrated(concept: Concept, inputs: Inputs, signal: float, click_rate: float) -> Concept:
    """The concept with log-odds of deviation ``signal`` and a mean P(click) of ``click_rate``.

    Args:
        concept: what is drawn.
        inputs: a sample of the stream.
        signal: above 0.
        click_rate: in (0, 1).
    """
    raw = concept.log_odds(inputs)
    scale = signal / float(raw.std())
    standard = (raw - raw.mean()) * np.float32(scale)
    shift = root(
        lambda x: float(logistic(standard + np.float32(x)).mean()) - click_rate, low=-30, high=30
    )
    return replace(concept, scale=scale, shift=shift - float(raw.mean()) * scale)


def _draw(rng: np.random.Generator) -> Concept:
    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, np.float32)

    # Waves and pairs count for about a quarter of the log-odds' variance each, ids for half.
    return Concept(
        first=normal(FIELDS),
        second=normal(FIELDS),
        pairs=normal(PAIRS) * np.float32(1.4),
        directions=normal(WAVES, DENSE + 1) * np.float32(0.6),
        waves=normal(WAVES) * np.float32(1.8),
    )
