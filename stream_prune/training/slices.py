"""The slices that a run's figures are told of: from the configuration's names to ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from stream_prune.errors import ConfigError
from stream_prune.evaluation.slice_figures import SliceFigures
from stream_prune.features import INTEGER, Categorical, FeatureSpec, hash_string
from stream_prune.minibatch.batch import MiniBatch

Floats = npt.NDArray[np.float32]


class Slices:
    """Feeds :class:`~stream_prune.evaluation.slice_figures.SliceFigures` from mini-batches.

    Args:
        wanted: by column the categories that are told apart; none: the first ones that come.
        spec: of the log.

    Raises:
        ConfigError: there is no such categorical column, or a category that it can't have.
    """

    def __init__(self, wanted: Mapping[str, Sequence[str]], spec: FeatureSpec) -> None:
        columns = {column.name: place for place, column in enumerate(spec.categorical)}
        for name in wanted:
            if name not in columns:
                raise ConfigError(
                    f"evaluation.slices.{name}: no such categorical column; there are: "
                    f"{', '.join(columns)}"
                )
        self._places = {name: columns[name] for name in wanted}
        self.figures = SliceFigures(
            {
                name: {_id(spec.categorical[columns[name]], text): text for text in categories}
                for name, categories in wanted.items()
            }
        )

    def add(self, window: Sequence[MiniBatch], scores: Floats) -> None:
        """Take in a window's rows and the probabilities [rows] given to them at their time."""
        start = 0
        for batch in window:
            given = scores[start : start + batch.rows]
            start += batch.rows
            for column, place in self._places.items():
                bags = slice(place * batch.rows, (place + 1) * batch.rows)
                if batch.offsets is None:
                    self.figures.add(column, batch.ids[bags], batch.label, given)
                    continue
                bounds = batch.offsets[bags.start : bags.stop + 1]
                ids, lengths = batch.ids[bounds[0] : bounds[-1]], np.diff(bounds)
                labels, each = np.repeat(batch.label, lengths), np.repeat(given, lengths)
                self.figures.add(column, ids, labels, each)


def _id(column: Categorical, text: str) -> int:
    if column.type != INTEGER:
        return hash_string(text)
    if not text.isdecimal():
        raise ConfigError(
            f"evaluation.slices.{column.name} = {text!r}: the column holds whole numbers"
        )
    return int(text)
