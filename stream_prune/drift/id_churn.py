"""Id churn: the share of a slice's ids that have not been seen lately."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import ConfigError
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int64]

PLACES = 1 << 16
"""Of each field; ids that share one are taken for each other, so a few new ones are missed."""
_MIX = np.uint64(0x9E3779B97F4A7C15)


class IdChurn:
    """The share of look-ups, over all fields, of ids that the last slices did not have.

    Args:
        memory: slices for which an id counts as seen.
    """

    of_model = False

    def __init__(self, memory: int = 32) -> None:
        if memory < 1:
            raise ConfigError(f"id_churn.memory = {memory}: must be at least 1")
        self._memory = memory
        self._slice = 0
        self._seen = np.empty((0, PLACES), np.int32)

    def of_rows(self, dense: Floats, ids: Ids, scores: Floats) -> float:  # noqa: ARG002
        """Rows of a slice: dense [n, N], ids [F, n], scores [n]. 0 while nothing can be old."""
        if not len(self._seen):
            self._seen = np.full((len(ids), PLACES), -1, np.int32)
        places = ((ids.astype(np.uint64) * _MIX) >> np.uint64(48)).astype(np.int64)
        new = 0
        for field, each in enumerate(places):
            last = self._seen[field, each]
            new += int(((last < 0) | (self._slice - last > self._memory)).sum())
            self._seen[field, each] = self._slice
        self._slice += 1
        return new / max(1, ids.size) if self._slice > self._memory else 0.0

    def state_dict(self) -> State:
        return {"slice": self._slice, "seen": torch.from_numpy(self._seen.copy())}

    def load_state_dict(self, state: State) -> None:
        number, seen = state["slice"], state["seen"]
        assert isinstance(number, int)
        assert isinstance(seen, torch.Tensor)
        self._slice, self._seen = number, seen.numpy().copy()
