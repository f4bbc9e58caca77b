"""One embedding table in plain dicts: what the compiled tables must do, read at a glance.

Ids must not share a sketch cell or a board cell; the caller sees to that. A key below 0 is a cold
row: -1 the first one.
"""

import numpy as np

from stream_prune.embedding import TableConfig
from stream_prune.embedding.cold_rows import cold_rows, heirs
from stream_prune.embedding.id_map import home

BOARD_SHIFT = np.uint64(64 - 6)  # a table of up to 64 rows has a board of 64 cells


class PlainTable:
    def __init__(self, config: TableConfig, cold: np.ndarray, lr: float, eps: float) -> None:
        self.config, self.capacity, self.lr, self.eps = config, config.capacity, lr, eps
        self.weights = {-1 - place: row.copy() for place, row in enumerate(cold)}
        self.accumulators = {-1 - place: np.float32(0) for place in range(len(cold))}
        self.owners: list[int] = []  # in the order of their rows
        self.counts: dict[int, float] = {}  # of owners
        self.sketch: dict[int, np.float32] = {}  # of everybody else
        self.candidates: dict[int, float] = {}
        self.waiting: dict[int, tuple[np.ndarray, np.float32]] = {}  # longest unused first
        self.weak: list[tuple[int, float]] = []  # next to go: owners and their counts then
        self.asked = 0  # of them since the last contest
        self.open = True
        self.churn = [0, 0]

    @property
    def cold(self) -> int:
        return 1 + int(self.config.cold_share * self.capacity)

    @property
    def room(self) -> int:
        """Rows that ids may own."""
        return self.capacity + 1 - self.cold

    def _own(self, key: int, count: float, place: int) -> None:
        self.owners[place : place + 1] = [key]
        self.counts[key] = count
        fresh = (self.weights[self.cold_of(key)].copy(), np.float32(0))
        self.weights[key], self.accumulators[key] = self.waiting.pop(key, fresh)
        self.churn[0] += 1

    def _evict(self, key: int) -> None:
        self.sketch[key] = np.float32(self.counts.pop(key))
        self.waiting[key] = (self.weights.pop(key), self.accumulators.pop(key))
        slots = int(self.config.waiting * self.config.capacity)
        for gone in list(self.waiting)[: max(0, len(self.waiting) - slots)]:
            del self.waiting[gone]
        self.churn[1] += 1

    def admit(self, keys: list[int], events: int) -> None:
        amount = 2.0 ** (events / self.config.half_life)
        strangers = [key for key in keys if key not in self.counts]
        for key in keys:
            if key in self.counts:
                self.counts[key] += amount
        for key in strangers:
            if key in self.counts:
                self.counts[key] += amount
            elif self.open and (len(self.owners) < self.room or self.config.follow):
                count = float(self.sketch.get(key, np.float32(0))) + amount
                self.sketch[key] = np.float32(count)
                if count >= (self.config.admission - 0.5) * amount:
                    if len(self.owners) < self.room:
                        self._own(key, count, len(self.owners))
                        continue
                    victim = self._gives_way(count)
                    if victim is not None:
                        self._replace(victim, key, count)
                        continue
                    if self.room:
                        self.candidates[key] = count
                    if key in self.waiting:
                        self.waiting[key] = self.waiting.pop(key)

    def _gives_way(self, count: float) -> int | None:
        while self.weak:
            key, then = self.weak[0]
            if count <= self.config.hysteresis * then:
                return None
            self.weak.pop(0)
            self.asked += 1
            if self.counts[key] == then:
                return key
        return None

    def _replace(self, victim: int, key: int, count: float) -> None:
        place, comes_back = self.owners.index(victim), self.waiting.pop(key, None)
        self._evict(victim)
        if comes_back is not None:
            self.waiting[key] = comes_back
        self._own(key, count, place)

    def adapt(self) -> None:
        if not self.candidates and not self.asked:
            return
        victims = sorted(range(len(self.owners)), key=lambda row: self.counts[self.owners[row]])
        rivals = sorted(self.candidates, key=lambda k: (-self.candidates[k], home(k, BOARD_SHIFT)))
        victims = [self.owners[row] for row in victims]
        spare = min(2 * (len(rivals) + self.asked) + 8, (self.config.capacity + 3) // 4)
        self.asked, won = 0, 0
        for victim, rival in zip(victims, rivals, strict=False):
            if not self.candidates[rival] > self.config.hysteresis * self.counts[victim]:
                break
            self._replace(victim, rival, self.candidates[rival])
            won += 1
        self.candidates.clear()
        self.weak = [(key, self.counts[key]) for key in victims[won : won + spare]]

    def resize(self, capacity: int) -> None:
        if capacity < self.capacity and not self.config.follow:
            self.open = False
        before, self.capacity = self.cold, capacity
        self.candidates.clear()
        self.weak, self.asked = [], 0
        ranked = sorted(self.owners, key=lambda k: (-self.counts[k], self.owners.index(k)))
        for key in reversed(ranked[self.room :]):  # the strongest leaves last
            self._evict(key)
        self.owners = [key for key in self.owners if key in self.counts]
        old = [(self.weights.pop(-1 - j), self.accumulators.pop(-1 - j)) for j in range(before)]
        for place, heir in enumerate(heirs(self.cold, before)):
            weight, accumulator = old[heir]
            self.weights[-1 - place], self.accumulators[-1 - place] = weight.copy(), accumulator

    def cold_of(self, key: int) -> int:
        return -1 - int(cold_rows(np.array([key]), self.cold)[0])

    def row_of(self, key: int) -> int:
        return key if key in self.counts else self.cold_of(key)

    def counted(self, bag: list[tuple[int, float]]) -> list[tuple[int, float]]:
        most = self.config.most_values
        return bag if most is None else bag[-most:]

    def shares(self, bag: list[tuple[int, float]]) -> list[tuple[int, np.float32]]:
        """Rows of a bag of (id, weight), and what each counts."""
        bag = self.counted(bag)
        if not bag:
            return [(-1, np.float32(1))]
        total = sum(weight for _, weight in bag) if self.config.combine == "mean" else 1.0
        return [
            (self.row_of(key), np.float32(weight / total if total else 0.0)) for key, weight in bag
        ]

    def embedding(self, bag: list[tuple[int, float]]) -> np.ndarray:
        return sum(share * self.weights[row] for row, share in self.shares(bag))

    def learn(self, bags: list[list[tuple[int, float]]], gradients: np.ndarray) -> None:
        sums: dict[int, np.ndarray] = {}
        for bag, gradient in zip(bags, gradients, strict=True):
            for row, share in self.shares(bag):
                sums[row] = sums.get(row, np.zeros_like(gradient)) + gradient * share
        for row, gradient in sums.items():
            self.accumulators[row] += np.mean(gradient**2)
            rate = self.lr / (np.sqrt(self.accumulators[row]) + self.eps)
            self.weights[row] = self.weights[row] - rate * gradient
