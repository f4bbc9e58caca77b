"""The row set of all tables as one object: sightings in, rows out; knows ids, not weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from stream_prune.embedding import row_set
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.id_map import EMPTY, I64, empty_map, lookup
from stream_prune.embedding.row_set import RowSet
from stream_prune.embedding.sketch import empty_sketch

Arrays = Mapping[str, npt.NDArray[np.generic]]

_MAX_EXPONENT = 32.0  # increments stay below 2^32, far from float32's limit even when summed


class RowCache:
    """Ids -> flat rows of F tables with decayed counts, admission and contest.

    Memory is a function of the configuration alone, not of how many ids went by.
    """

    def __init__(self, configs: Sequence[TableConfig]) -> None:
        self.configs = tuple(configs)
        self.half_life = np.array([c.half_life for c in configs], np.float64)
        self.events = 0
        self._origin = np.zeros(len(configs), np.float64)  # where a table's increment is 1
        capacity = np.array([c.capacity for c in configs], np.int64)
        bits = np.array([(min(max(c.capacity, 64), 8_192) - 1).bit_length() for c in configs])
        board_base = np.concatenate(([0], np.cumsum(1 << bits))).astype(np.int64)
        self.rows = self._laid_out(
            capacity,
            RowSet(
                ids=empty_map(capacity),
                sketch=empty_sketch(self.half_life),
                owner=np.empty(0, np.int64),
                counts=np.empty(0, np.float64),
                first=np.empty(0, np.int64),
                capacity=capacity,
                used=np.zeros(len(configs), np.int64),
                open=np.ones(len(configs), np.bool_),
                follow=np.array([c.follow for c in configs], np.bool_),
                admission=np.array([c.admission for c in configs], np.float64),
                hysteresis=np.array([c.hysteresis for c in configs], np.float64),
                candidates=np.full(board_base[-1], EMPTY, np.int64),
                strength=np.zeros(board_base[-1], np.float64),
                board_base=board_base,
                board_shift=(64 - bits).astype(np.uint64),
                queue=np.zeros(board_base[-1], np.int64),
                waiting=np.zeros(len(configs), np.int64),
                floor=np.zeros(len(configs), np.float64),
                admissions=np.zeros(len(configs), np.int64),
                evictions=np.zeros(len(configs), np.int64),
            ),
        )

    @staticmethod
    def _laid_out(capacity: I64, rows: RowSet) -> RowSet:
        """The same tables with new capacities and no owners yet."""
        first = np.concatenate(([0], np.cumsum(capacity + 1))).astype(np.int64)
        return rows._replace(
            ids=empty_map(capacity),
            owner=np.full(first[-1], EMPTY, np.int64),
            counts=np.zeros(first[-1], np.float64),
            first=first[:-1],
            capacity=capacity.copy(),
        )

    @property
    def size(self) -> int:
        """Flat rows of all tables, V, the cold ones included."""
        return self.rows.owner.size

    def owned(self, table: int) -> slice:
        """The flat rows of a table that ids own, in the order in which they were handed out."""
        start = int(self.rows.first[table]) + 1
        return slice(start, start + int(self.rows.used[table]))

    def live(self) -> I64:
        """Flat rows in use, table by table: its cold row, then the owned ones."""
        spans = zip(self.rows.first.tolist(), self.rows.used.tolist(), strict=True)
        return np.concatenate([np.arange(first, first + used + 1) for first, used in spans])

    def cold(self, rows: I64) -> I64:
        """The cold row of the table in which each of these flat rows lies."""
        return self.rows.first[np.searchsorted(self.rows.first, rows, side="right") - 1]

    def _queued(self) -> I64:
        """Where the cells of the boards in use are listed, of all tables."""
        spans = zip(self.rows.board_base.tolist(), self.rows.waiting.tolist(), strict=False)
        return np.concatenate([np.arange(base, base + waiting) for base, waiting in spans])

    def lookup(self, ids: I64, spans: I64) -> I64:
        """Flat rows [n] of ids [n]; those at ``spans[f] : spans[f + 1]`` belong to table f.

        Raises:
            ValueError: a negative id, with its table.
        """
        rows = np.empty(ids.size, np.int64)
        lookup(self.rows.ids, self._checked(ids, spans), spans, self.rows.first, rows)
        return rows

    def admit(self, ids: I64, spans: I64, events: int) -> tuple[I64, I64]:
        """Count a batch of ``events`` stream rows.

        Returns the flat rows [n] of ``ids`` [n] and those flat rows that have a new owner.
        Arguments and errors as for :meth:`lookup`.
        """
        ids = self._checked(ids, spans)
        exponent = (self.events - self._origin) / self.half_life
        if exponent.max(initial=0.0) > _MAX_EXPONENT:
            self._rescale(np.where(exponent > _MAX_EXPONENT, np.floor(exponent), 0.0))
            exponent = (self.events - self._origin) / self.half_life
        room = np.minimum(self.rows.capacity - self.rows.used, np.diff(spans)).sum()
        fresh, found = np.empty(room, np.int64), np.empty(ids.size, np.int64)
        handed_out = row_set.admit(self.rows, ids, spans, np.exp2(exponent), fresh, found)
        self.events += events
        return found, fresh[:handed_out]

    def contest(self) -> I64:
        """Candidates against the weakest rows; returns the flat rows that have a new owner."""
        fresh = np.empty(np.minimum(self.rows.used, self.rows.waiting).sum(), np.int64)
        return fresh[: row_set.contest(self.rows, fresh)]

    def churn(self) -> list[tuple[int, int]]:
        """(admissions, evictions) of each table since the last call."""
        rows = self.rows
        counts = list(zip(rows.admissions.tolist(), rows.evictions.tolist(), strict=True))
        rows.admissions[:], rows.evictions[:] = 0, 0
        return counts

    def _checked(self, ids: I64, spans: I64) -> I64:
        if ids.size and ids.min() < 0:
            bad = int(np.argmax(ids < 0))
            table = self.configs[int(np.searchsorted(spans, bad, side="right")) - 1].name
            raise ValueError(f"table {table!r}: id {ids[bad]}: ids must be in [0, 2^63 - 1]")
        # The loops are compiled for one kind of array; others (read-only, strided) are copied.
        return np.require(ids, requirements=("C", "W"))

    def _rescale(self, exponent: npt.NDArray[np.float64]) -> None:
        """Divide a table's counts by 2^exponent; exact, so no comparison changes."""
        rows = self.rows
        for table in np.nonzero(exponent)[0].tolist():
            factor = 2.0 ** -exponent[table]
            rows.counts[self.owned(table)] *= factor
            rows.floor[table] *= factor
            rows.strength[rows.board_base[table] : rows.board_base[table + 1]] *= factor
            cells = rows.sketch.cells[rows.sketch.base[table] : rows.sketch.base[table + 1]]
            cells *= np.float32(factor)
        self._origin += exponent * self.half_life

    def resize(self, capacities: Mapping[int, int]) -> tuple[I64, I64]:
        """New capacities for some tables, keeping the rows with the greatest decayed counts.

        Returns (old flat rows, new flat rows) of everything that stays, cold rows included. What
        is cut goes back to the sketch, so it may return; waiting candidates of a resized table
        are forgotten until their next sighting.
        """
        old = self.rows
        capacity = old.capacity.copy()
        kept = [np.arange(o.start, o.stop) for o in map(self.owned, range(len(self.configs)))]
        for table, size in capacities.items():
            rows = kept[table]
            if not old.follow[table] and size < capacity[table]:
                old.open[table] = False
            capacity[table] = size
            strongest = rows[np.argsort(-old.counts[rows], kind="stable")]
            kept[table] = np.sort(strongest[:size])
            row_set.disown(old, table, strongest[size:])
            row_set.clear_board(old, table)
            old.floor[table] = 0.0
        new = self._laid_out(capacity, old)
        source, target = [], []
        for table, rows in enumerate(kept):
            new.used[table] = rows.size
            source += [old.first[table : table + 1], rows]
            target.append(np.arange(rows.size + 1) + new.first[table])
        moved, to = np.concatenate(source), np.concatenate(target)
        new.owner[to], new.counts[to] = old.owner[moved], old.counts[moved]
        row_set.index(new)
        self.rows = new
        return moved, to

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that decides later results, as copies; counts and owners of live rows only."""
        rows, live = self.rows, self.live()
        queued = self._queued()
        return {
            "capacity": rows.capacity.copy(),
            "used": rows.used.copy(),
            "owner": rows.owner[live],
            "counts": rows.counts[live],
            "open": rows.open.copy(),
            "floor": rows.floor.copy(),
            "sketch": rows.sketch.cells.copy(),
            "waiting": rows.waiting.copy(),
            "queue": rows.queue[queued],
            "candidates": rows.candidates[rows.queue[queued]],
            "strength": rows.strength[rows.queue[queued]],
            "admissions": rows.admissions.copy(),
            "evictions": rows.evictions.copy(),
            "origin": self._origin.copy(),
        }

    def restore(self, arrays: Arrays, events: int) -> None:
        """Become the cache that gave :meth:`arrays` after ``events`` events."""
        rows = self._laid_out(np.asarray(arrays["capacity"], np.int64), self.rows)
        for name in ("used", "open", "floor", "waiting", "admissions", "evictions"):
            getattr(rows, name)[:] = arrays[name]
        rows.sketch.cells[:] = arrays["sketch"]
        self.rows, self.events = rows, events
        rows.candidates[:], rows.strength[:] = EMPTY, 0.0
        rows.queue[self._queued()] = arrays["queue"]
        rows.candidates[arrays["queue"]] = arrays["candidates"]
        rows.strength[arrays["queue"]] = arrays["strength"]
        self._origin = np.array(arrays["origin"], np.float64)
        live = self.live()
        rows.owner[live], rows.counts[live] = arrays["owner"], arrays["counts"]
        row_set.index(rows)
