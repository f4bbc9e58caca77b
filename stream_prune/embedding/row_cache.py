"""The row set of all tables as one object: sightings in, rows out; knows ids, not weights."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from stream_prune.embedding import row_set, waiting_room
from stream_prune.embedding.admission import admit
from stream_prune.embedding.cold_rows import heirs
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.half_lives import HalfLives, Tuning
from stream_prune.embedding.id_map import EMPTY, I64, empty_map, lookup
from stream_prune.embedding.moves import Moves, Relayout
from stream_prune.embedding.row_set import RowSet
from stream_prune.embedding.sketch import empty_sketch
from stream_prune.embedding.waiting_room import empty_room

Arrays = Mapping[str, npt.NDArray[np.generic]]

_MAX_EXPONENT = 32.0  # increments stay below 2^32, far from float32's limit even when summed


class RowCache:
    """Ids -> flat rows of F tables with decayed counts, admission and contest.

    Memory is a function of the configuration alone, not of how many ids went by.
    """

    def __init__(self, configs: Sequence[TableConfig], tuning: Tuning | None = None) -> None:
        self.configs = tuple(configs)
        self.events = 0
        self._origin = np.zeros(len(configs), np.float64)  # where a table's increment is 1
        capacity = np.array([c.capacity for c in configs], np.int64)
        longest = np.array([max((c.half_life, *c.half_lives)) for c in configs], np.float64)
        bits = np.array([(min(max(c.capacity, 64), 8_192) - 1).bit_length() for c in configs])
        board_base = np.concatenate(([0], np.cumsum(1 << bits))).astype(np.int64)
        listed = np.minimum((capacity + 3) // 4, _MOST_LISTED)
        weak_base = np.concatenate(([0], np.cumsum(listed))).astype(np.int64)
        self.rows = self._laid_out(
            capacity,
            RowSet(
                ids=empty_map(capacity),
                sketch=empty_sketch(longest),
                room=empty_room(np.array([int(c.waiting * c.capacity) for c in configs])),
                owner=np.empty(0, np.int64),
                counts=np.empty(0, np.float64),
                first=np.empty(0, np.int64),
                cold=np.empty(0, np.int64),
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
                weak=np.zeros(weak_base[-1], np.int64),
                weak_count=np.zeros(weak_base[-1], np.float64),
                weak_base=weak_base,
                weak_next=np.zeros(len(configs), np.int64),
                weak_stop=np.zeros(len(configs), np.int64),
                admissions=np.zeros(len(configs), np.int64),
                evictions=np.zeros(len(configs), np.int64),
            ),
        )
        self.learned = HalfLives(configs, self.rows.capacity, tuning or Tuning())

    def _laid_out(self, capacity: I64, rows: RowSet) -> RowSet:
        """The same tables with new capacities [F] and no owners yet."""
        sizes = zip(self.configs, capacity.tolist(), strict=True)
        cold = np.array([config.cold_rows(size) for config, size in sizes], np.int64)
        first = np.concatenate(([0], np.cumsum(capacity + 1))).astype(np.int64)
        owned = capacity + 1 - cold
        return rows._replace(
            ids=empty_map(owned),
            owner=np.full(first[-1], EMPTY, np.int64),
            counts=np.zeros(first[-1], np.float64),
            first=first[:-1],
            cold=cold,
            capacity=owned,
        )

    @property
    def size(self) -> int:
        """Flat rows of all tables, V, the cold ones included."""
        return self.rows.owner.size

    @property
    def capacity(self) -> I64:
        """The tables' capacities [F]: all their rows but one."""
        return self.rows.capacity + self.rows.cold - 1

    def shared(self, table: int) -> slice:
        """The cold flat rows of a table."""
        start = int(self.rows.first[table])
        return slice(start, start + int(self.rows.cold[table]))

    def owned(self, table: int) -> slice:
        """The flat rows of a table that ids own, in the order in which they were handed out."""
        start = self.shared(table).stop
        return slice(start, start + int(self.rows.used[table]))

    def live(self) -> I64:
        """Flat rows in use, table by table: its cold rows, then the owned ones."""
        tables = range(len(self.configs))
        return np.concatenate([np.arange(self.shared(f).start, self.owned(f).stop) for f in tables])

    def occupied(self) -> I64:
        """Slots of the waiting room in use."""
        return np.flatnonzero(self.rows.room.owner != EMPTY)

    def _queued(self) -> I64:
        """Where the cells of the boards in use are listed, of all tables."""
        spans = zip(self.rows.board_base.tolist(), self.rows.waiting.tolist(), strict=False)
        return np.concatenate([np.arange(base, base + waiting) for base, waiting in spans])

    def lookup(self, ids: I64, spans: I64) -> I64:
        """Flat rows [n] of ids [n]; those at ``spans[f] : spans[f + 1]`` belong to table f.

        Raises:
            ValueError: a negative id, with its table.
        """
        rows, state = np.empty(ids.size, np.int64), self.rows
        lookup(state.ids, self._checked(ids, spans), spans, state.first, state.cold, rows)
        return rows

    def admit(self, ids: I64, spans: I64, events: int, *, evicts: bool = True) -> tuple[I64, Moves]:
        """Count a batch of ``events`` stream rows; only if it ``evicts``, rows change hands.

        Returns the flat rows [n] of ``ids`` [n], and what has to move before they are read.
        Arguments and errors as for :meth:`lookup`.
        """
        ids = self._checked(ids, spans)
        for change in self.learned.observe(ids, spans, self.events):
            self._change(*change)
        half_life = self.learned.half_life
        exponent = (self.events - self._origin) / half_life
        if exponent.max(initial=0.0) > _MAX_EXPONENT:
            self._rescale(np.where(exponent > _MAX_EXPONENT, np.floor(exponent), 0.0))
            exponent = (self.events - self._origin) / half_life
        rows = self.rows
        room = rows.capacity - rows.used + rows.weak_stop - rows.weak_next
        most = np.minimum(room, np.diff(spans)).sum()
        fresh, origin, left = (np.empty(most, np.int64) for _ in range(3))
        found = np.empty(ids.size, np.int64)
        n = admit(rows, ids, spans, np.exp2(exponent), evicts, fresh, origin, left, found)
        self.events += events
        return found, _moves(fresh[:n], origin[:n], left[:n])

    def contest(self) -> Moves:
        """Candidates against the weakest rows; returns what has to move."""
        most = np.minimum(self.rows.used, self.rows.waiting).sum()
        fresh, origin, left = (np.empty(most, np.int64) for _ in range(3))
        n = row_set.contest(self.rows, fresh, origin, left)
        self.learned.contested()
        return _moves(fresh[:n], origin[:n], left[:n])

    def drifted(self) -> None:
        """A drift was signalled: learned half-lives get shorter for a while."""
        for change in self.learned.drifted(self.events):
            self._change(*change)

    def churn(self) -> list[tuple[int, int]]:
        """(admissions, evictions) of each table since the last call."""
        rows = self.rows
        counts = list(zip(rows.admissions.tolist(), rows.evictions.tolist(), strict=True))
        rows.admissions[:], rows.evictions[:] = 0, 0
        return counts

    def _checked(self, ids: I64, spans: I64) -> I64:
        if ids.size and ids.min() < 0:
            at = int(np.argmax(ids < 0))
            table = int(np.searchsorted(spans, at, side="right")) - 1
            name = self.configs[table].name
            raise ValueError(f"table {name!r}: id {ids[at]}: ids must not be negative")
        # Compiled once, for one kind of array: other kinds (read-only, strided) are copied.
        return np.require(ids, requirements=("C", "W"))

    def _change(self, table: int, before: float, half_life: float) -> None:
        """Count with another half-life from now on.

        An id seen at a steady pace has a count in proportion to the half-life, so on a shorter one
        counts shrink with it, or newcomers would have to wait; on a longer one they grow again by
        themselves.
        """
        exponent = (self.events - self._origin[table]) / before
        self._scale(table, 2.0**-exponent * min(1.0, half_life / before))
        self._origin[table] = self.events

    def _rescale(self, exponent: npt.NDArray[np.float64]) -> None:
        """Divide a table's counts by 2^exponent; exact, so no comparison changes."""
        for table in np.nonzero(exponent)[0].tolist():
            self._scale(table, 2.0 ** -exponent[table])
        self._origin += exponent * self.learned.half_life

    def _scale(self, table: int, factor: float) -> None:
        rows = self.rows
        rows.counts[self.owned(table)] *= factor
        rows.floor[table] *= factor
        rows.strength[rows.board_base[table] : rows.board_base[table + 1]] *= factor
        rows.weak_count[rows.weak_base[table] : rows.weak_base[table + 1]] *= factor
        cells = rows.sketch.cells[rows.sketch.base[table] : rows.sketch.base[table + 1]]
        cells *= np.float32(factor)

    def resize(self, capacities: Mapping[int, int]) -> Relayout:
        """New capacities for some tables, keeping the rows with the greatest decayed counts.

        What is cut goes back to the sketch, and to the waiting room, so it may return; waiting
        candidates of a resized table are forgotten until their next sighting. Of each new cold row
        the ids had the old one that it starts as.
        """
        old, capacity = self.rows, self.capacity
        for table, size in capacities.items():
            old.open[table] &= bool(old.follow[table]) or size >= capacity[table]
            capacity[table] = size
        new = self._laid_out(capacity, old)
        moved, to, left, slots = [], [], [_NONE], [_NONE]
        for table in range(capacity.size):
            rows = np.arange(self.owned(table).start, self.owned(table).stop)
            if table in capacities:
                rows, gone = self._cut(table, rows, int(new.capacity[table]))
                places = np.empty(gone.size, np.int64)
                row_set.disown(old, table, gone, places)
                left.append(gone[places >= 0])
                slots.append(places[places >= 0])
            cold = int(new.cold[table])
            places = new.first[table] + np.arange(cold + rows.size)
            new.used[table] = rows.size
            new.owner[places[cold:]] = old.owner[rows]
            new.counts[places[cold:]] = old.counts[rows]
            moved += [old.first[table] + heirs(cold, int(old.cold[table])), rows]
            to.append(places)
            listed = slice(new.weak_base[table], new.weak_base[table + 1])
            new.weak[listed] += new.first[table] - old.first[table]
        row_set.index(new)
        self.rows = new
        self.learned.resize(new.capacity)
        return Relayout(*(np.concatenate(part) for part in (moved, to, left, slots)))

    def _cut(self, table: int, rows: I64, size: int) -> tuple[I64, I64]:
        """Of a table's owned rows those that stay, in order, and the others, strongest first."""
        row_set.clear_board(self.rows, table)
        self.rows.floor[table] = 0.0
        self.rows.weak_next[table] = self.rows.weak_stop[table] = 0
        strongest = rows[np.argsort(-self.rows.counts[rows], kind="stable")]
        return np.sort(strongest[:size]), strongest[size:]

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that decides later results, as copies; counts and owners of live rows only."""
        rows, live = self.rows, self.live()
        queued = self._queued()
        return {
            "capacity": self.capacity,
            "used": rows.used.copy(),
            "owner": rows.owner[live],
            "counts": rows.counts[live],
            "open": rows.open.copy(),
            "floor": rows.floor.copy(),
            **{name: getattr(rows, name).copy() for name in _WEAK},
            "sketch": rows.sketch.cells.copy(),
            "waiting": rows.waiting.copy(),
            "queue": rows.queue[queued],
            "candidates": rows.candidates[rows.queue[queued]],
            "strength": rows.strength[rows.queue[queued]],
            "admissions": rows.admissions.copy(),
            "evictions": rows.evictions.copy(),
            "origin": self._origin.copy(),
            **{f"room.{name}": getattr(rows.room, name).copy() for name in _ROOM},
            **{f"ghosts.{name}": array for name, array in self.learned.arrays().items()},
        }

    def restore(self, arrays: Arrays, events: int) -> None:
        """Become the cache that gave :meth:`arrays` after ``events`` events."""
        rows = self._laid_out(np.asarray(arrays["capacity"], np.int64), self.rows)
        rows = rows._replace(room=empty_room(np.diff(rows.room.base)))
        for name in ("used", "open", "floor", "waiting", "admissions", "evictions", *_WEAK):
            getattr(rows, name)[:] = arrays[name]
        for name in _ROOM:
            getattr(rows.room, name)[:] = arrays[f"room.{name}"]
        waiting_room.index(rows.room)
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
        learned = {n.removeprefix("ghosts."): a for n, a in arrays.items() if "ghosts." in n}
        self.learned.restore(learned, rows.capacity)


def _moves(fresh: I64, origin: I64, left: I64) -> Moves:
    waits = left >= 0
    return Moves(fresh, origin, fresh[waits], left[waits])


_MOST_LISTED = 8_192
_WEAK = ("weak", "weak_count", "weak_next", "weak_stop")
_ROOM = ("owner", "newer", "older", "oldest", "newest")
_NONE = np.empty(0, np.int64)
