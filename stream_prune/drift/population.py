"""The population stability index: how far a slice's distribution is from the one before it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from stream_prune.errors import ConfigError
from stream_prune.stateful import State

Floats = npt.NDArray[np.floating]
Ids = npt.NDArray[np.int64]

BINS = 10


class Population:
    """The mean index of some columns, slice by slice.

    The bins are the deciles of the first slice. The reference is what slices before looked like,
    the older the less: a model that is still learning, or a day that passes, moves it along, and
    what changes from one slice to the next stands out.

    Args:
        memory: slices after which a slice counts half in the reference.

    Source: the index is the symmetrised Kullback-Leibler divergence of two histograms, as credit
    scoring has long used it (Siddiqi, Credit Risk Scorecards, 2006).
    """

    def __init__(self, memory: float = 16.0) -> None:
        if not memory > 0:
            raise ConfigError(f"population.memory = {memory}: must be greater than 0")
        self._keep = 0.5 ** (1 / memory)
        self._edges = np.empty((0, BINS - 1))
        self._reference = np.empty((0, BINS))

    def measure(self, columns: Floats) -> float:
        """The index of a slice [n, N]; 0 for the first one, and where there is no column."""
        values = np.asarray(columns, np.float64)
        if not values.shape[1]:
            return 0.0
        if not len(self._edges):
            self._edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], axis=0).T.copy()
            self._reference = self._shares(values)
            return 0.0
        shares = self._shares(values)
        apart = (shares - self._reference) * np.log(shares / self._reference)
        self._reference = self._keep * self._reference + (1 - self._keep) * shares
        return float(apart.sum(1).mean())

    def _shares(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Of each column's bins [N, BINS], none of them 0."""
        rows = len(values)
        found = np.empty((values.shape[1], BINS))
        for column, edges in enumerate(self._edges):
            place = np.searchsorted(edges, values[:, column], side="right")
            found[column] = np.bincount(place, minlength=BINS)
        return (found + 0.5) / (rows + 0.5 * BINS)

    def state_dict(self) -> State:
        edges, reference = self._edges.copy(), self._reference.copy()
        return {"edges": torch.from_numpy(edges), "reference": torch.from_numpy(reference)}

    def load_state_dict(self, state: State) -> None:
        edges, reference = state["edges"], state["reference"]
        assert isinstance(edges, torch.Tensor)
        assert isinstance(reference, torch.Tensor)
        self._edges, self._reference = edges.numpy().copy(), reference.numpy().copy()


class DensePopulation(Population):
    """Of the dense inputs; needs no model and no labels."""

    of_model = False

    def of_rows(self, dense: Floats, ids: Ids, scores: Floats) -> float:  # noqa: ARG002
        """Rows of a slice: dense [n, N], ids [F, n], scores [n]."""
        return self.measure(dense)


class ScorePopulation(Population):
    """Of the model's log-odds; needs no labels."""

    of_model = True

    def of_rows(self, dense: Floats, ids: Ids, scores: Floats) -> float:  # noqa: ARG002
        """Rows of a slice: dense [n, N], ids [F, n], scores [n]."""
        p = np.clip(np.asarray(scores, np.float64), 1e-7, 1 - 1e-7)
        return self.measure(np.log(p / (1 - p))[:, None])
