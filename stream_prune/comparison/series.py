"""A run's windows as arrays: what comparisons between runs are made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stream_prune.training.journal import CLOCK, read


@dataclass(frozen=True)
class Series:
    """A run's windows with labelled rows, in order; all fields are [windows].

    Attributes:
        ends: event time (ms) at which the window ends.
        labelled, positives: rows with a known label, and with label 1.
        loss: summed logloss of the labelled rows.
        macs_training: per example, when the window was learned.
        seconds: since the run began.
    """

    ends: npt.NDArray[np.int64]
    labelled: npt.NDArray[np.int64]
    positives: npt.NDArray[np.int64]
    loss: npt.NDArray[np.float64]
    macs_training: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]

    @classmethod
    def read(cls, journal: Path) -> Series:
        """From a run's journal."""
        lines = [line for line in read(journal) if line["kind"] == "window" and line["labelled"]]

        def column(name: str, kind: type) -> npt.NDArray[Any]:
            return np.array([line[name] for line in lines], kind)

        labelled = column("labelled", np.int64)
        return cls(
            ends=column("window_end", np.int64),
            labelled=labelled,
            positives=column("positives", np.int64),
            loss=column("logloss", np.float64) * labelled,
            macs_training=column("macs_training", np.int64),
            seconds=np.array([line[CLOCK]["seconds"] for line in lines], np.float64),
        )

    def same_rows(self, other: Series) -> bool:
        """Whether both are of the same windows with the same labels."""
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("ends", "labelled", "positives")
        )

    def after(self, rows: int) -> npt.NDArray[np.bool_]:
        """The windows [windows] of which every row lies after the first ``rows`` labelled ones."""
        late: npt.NDArray[np.bool_] = np.cumsum(self.labelled) - self.labelled >= rows
        return late
