"""One embedding table in plain dicts: what the compiled tables must do, read at a glance.

Ids must not share a sketch cell or a board cell; the caller sees to that.
"""

import numpy as np

from stream_prune.embedding import TableConfig
from stream_prune.embedding.id_map import home

BOARD_SHIFT = np.uint64(64 - 6)  # a table of up to 64 rows has a board of 64 cells


class PlainTable:
    def __init__(self, config: TableConfig, cold: np.ndarray, lr: float, eps: float) -> None:
        self.config, self.capacity, self.lr, self.eps = config, config.capacity, lr, eps
        self.weights = {None: cold.copy()}  # None is the cold row
        self.accumulators = {None: np.float32(0)}
        self.owners: list[int] = []  # in the order of their rows
        self.counts: dict[int, float] = {}  # of owners
        self.sketch: dict[int, np.float32] = {}  # of everybody else
        self.candidates: dict[int, float] = {}
        self.open = True
        self.churn = [0, 0]

    def _own(self, key: int, count: float, place: int) -> None:
        self.owners[place : place + 1] = [key]
        self.counts[key] = count
        self.weights[key] = self.weights[None].copy()
        self.accumulators[key] = np.float32(0)
        self.churn[0] += 1

    def _evict(self, key: int) -> None:
        self.sketch[key] = np.float32(self.counts.pop(key))
        del self.weights[key], self.accumulators[key]
        self.churn[1] += 1

    def admit(self, keys: list[int], events: int) -> None:
        amount = 2.0 ** (events / self.config.half_life)
        for key in keys:
            if key in self.counts:
                self.counts[key] += amount
            elif self.open and (len(self.owners) < self.capacity or self.config.follow):
                count = float(self.sketch.get(key, np.float32(0))) + amount
                self.sketch[key] = np.float32(count)
                if count >= (self.config.admission - 0.5) * amount:
                    if len(self.owners) < self.capacity:
                        self._own(key, count, len(self.owners))
                    elif self.capacity:
                        self.candidates[key] = count

    def adapt(self) -> None:
        victims = sorted(range(len(self.owners)), key=lambda row: self.counts[self.owners[row]])
        rivals = sorted(self.candidates, key=lambda k: (-self.candidates[k], home(k, BOARD_SHIFT)))
        for row, rival in zip(victims, rivals, strict=False):
            victim = self.owners[row]
            if not self.candidates[rival] > self.config.hysteresis * self.counts[victim]:
                break
            self._evict(victim)
            self._own(rival, self.candidates[rival], row)
        self.candidates.clear()

    def resize(self, capacity: int) -> None:
        if capacity < self.capacity and not self.config.follow:
            self.open = False
        self.capacity = capacity
        self.candidates.clear()
        ranked = sorted(self.owners, key=lambda k: (-self.counts[k], self.owners.index(k)))
        for key in ranked[capacity:]:
            self._evict(key)
        self.owners = [key for key in self.owners if key in self.counts]

    def row_of(self, key: int) -> int | None:
        return key if key in self.counts else None

    def embedding(self, bag: list[int]) -> np.ndarray:
        return np.mean([self.weights[self.row_of(k)] for k in bag] or [self.weights[None]], 0)

    def learn(self, bags: list[list[int]], gradients: np.ndarray) -> None:
        sums: dict[int | None, np.ndarray] = {}
        for bag, gradient in zip(bags, gradients, strict=True):
            rows = [self.row_of(key) for key in bag] or [None]
            for row in rows:
                sums[row] = sums.get(row, np.zeros_like(gradient)) + gradient / len(rows)
        for row, gradient in sums.items():
            self.accumulators[row] += np.mean(gradient**2)
            rate = self.lr / (np.sqrt(self.accumulators[row]) + self.eps)
            self.weights[row] = self.weights[row] - rate * gradient
