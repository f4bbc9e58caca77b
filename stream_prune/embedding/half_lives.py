"""Half-lives that are learned, table by table, from what ghost caches would have covered.

Counts that halve every so many events are between least-recently-used (a short half-life) and
least-frequently-used (a long one): the spectrum of LRFU (Lee et al., IEEE Transactions on Computers
2001). ARC (Megiddo & Modha, FAST 2003) balances recency and frequency while it runs; Einziger et
al. (Middleware 2018) tune such a balance by hill climbing or by an indicator. Here every candidate
is watched at once, and as rows hold what was learned, coverage is weighted by their age
(:mod:`.ghosts`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream_prune.embedding import ghosts
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.ghost_rounds import bin_ends, end_rounds
from stream_prune.embedding.ghosts import Ghosts, empty_ghosts
from stream_prune.embedding.id_map import EMPTY, I64

_LONGEST = 8  # of a round, in its least lengths


class Tuning(NamedTuple):
    """How ghost caches judge.

    Maturity and churn were chosen on MovieLens 100K alone, with one seed (docs/embeddings.md tells
    how); on other logs nothing says that they are good.

    Attributes:
        round_events: least length of the round whose look-ups the sets before it are scored by; it
            ends when rows have changed hands (``adapt()``) since it began, or at eight times that.
        memory: what a round of this length counts in the next one; of a longer one less.
        maturity: look-ups after which a row's hit counts half.
        churn: look-ups that an admission costs.
        margin: coverage by which a candidate must be better than the one in force.
        rounds: so many must have been judged before the first choice.
    """

    round_events: int = 2_000
    memory: float = 0.95
    maturity: float = 30.0
    churn: float = 10.0
    margin: float = 0.002
    rounds: int = 5


class Change(NamedTuple):
    """A table's half-life, in events, before and from now on."""

    table: int
    before: float
    half_life: float


class CoveragePoint(NamedTuple):
    """So many rows, owned by the ids of the highest counts, found this share of the look-ups."""

    rows: int
    coverage: float


class HalfLives:
    """Ghost caches of F tables and the half-life in force of each; tables may be without ghosts."""

    def __init__(self, configs: Sequence[TableConfig], owned: I64, tuning: Tuning) -> None:
        self.tuning = tuning
        self.learns = np.array([len(c.half_lives) > 0 for c in configs], np.bool_)
        width = max((len(c.half_lives) for c in configs), default=0)
        self.candidates = np.array(
            [
                [*c.half_lives, *[c.half_lives[-1]] * (width - len(c.half_lives))]
                if c.half_lives
                else [np.inf] * width
                for c in configs
            ]
        ).reshape(len(configs), width)
        self.half_life = np.array([c.half_life for c in configs], np.float64)
        self._admission = np.array([c.admission for c in configs], np.float64)
        self._hysteresis = np.array([c.hysteresis for c in configs], np.float64)
        self.choice = self._nearest()
        self._held = np.zeros(len(configs))  # until this event no half-life gets longer
        self._round_began = 0
        self._contested = False  # since then
        self._blind = np.ones(len(configs), np.bool_)  # nobody was ranked before this round
        self._ghosts = empty_ghosts(np.where(self.learns, owned, 0), width)
        self._worth = ghosts.worth(tuning.maturity)

    def _nearest(self) -> I64:
        if not self.candidates.size:
            return np.zeros(self.half_life.size, np.int64)
        distance = np.abs(np.log(self.candidates / self.half_life[:, None]))
        nearest: I64 = distance.argmin(1)
        return nearest

    def observe(self, keys: I64, spans: I64, events: int) -> list[Change]:
        """Count a batch that begins after ``events`` events.

        Returns the half-lives that change before it.
        """
        if not self.learns.any():
            return []
        changes = []
        lasted = (events - self._round_began) / self.tuning.round_events
        if lasted >= (1 if self._contested else _LONGEST):
            changes = self._end_round(events)
        since = np.where(self._ghosts.idle == 0, events - self._ghosts.origin, 0)
        exponent = since[:, None] / self.candidates
        increment = np.exp2(exponent).astype(np.float32)
        ghosts.observe(self._ghosts, keys, spans, increment, self._admission, self._worth)
        return changes

    def contested(self) -> None:
        """Rows may have changed hands, so the would-be sets change theirs."""
        self._contested = bool(self.learns.any())

    def drifted(self, events: int) -> list[Change]:
        """A drift was signalled: what was seen before it counts less, so half-lives get shorter.

        Each goes one candidate down and stays at least as short for as many events as it says;
        after that coverage decides again.
        """
        return list(self._shortened(events))

    def _shortened(self, events: int) -> Iterable[Change]:
        for table in np.flatnonzero(self.learns).tolist():
            self._ghosts.value[table] *= self.tuning.memory**20
            self._ghosts.weight[table] *= self.tuning.memory**20
            if self.choice[table] > 0:
                yield self._choose(table, int(self.choice[table]) - 1)
            self._held[table] = events + self.half_life[table]

    def _wake(self, tables: I64, events: int) -> None:
        """Counts of tables that have rested become those of now: nothing was counted meanwhile."""
        state = self._ghosts
        left = np.exp2((state.origin - events)[:, None] / self.candidates).astype(np.float32)
        for table in tables.tolist():
            kept = slice(state.base[table], state.base[table] + state.used[table])
            state.counts[kept] *= left[table]
            state.origin[table] = events

    def _end_round(self, events: int) -> list[Change]:
        tuning, state, changes = self.tuning, self._ghosts, []
        due = state.idle == 0
        state.idle[~due] -= 1
        self._wake(np.flatnonzero(~due & (state.idle == 0)), events)
        tables = np.flatnonzero(due & (state.rows > 0))
        blind = tables[self._blind[tables]]
        hits = state.hits[blind]
        factors = np.exp2((state.origin - events)[:, None] / self.candidates)
        end_rounds(
            state,
            tables,
            factors,
            self._hysteresis,
            tuning.churn,
            tuning.memory ** ((events - self._round_began) / tuning.round_events),
            self.choice,
        )
        state.hits[blind], self._blind[blind] = hits, False  # all were of ids without a rank
        state.origin[tables] = events
        for table in tables[state.judged[tables] >= tuning.rounds].tolist():
            best = self._best(table, events)
            if best != self.choice[table]:
                changes.append(self._choose(table, best))
        self._round_began, self._contested = events, False
        return changes

    def _best(self, table: int, events: int) -> int:
        value, now = self._ghosts.value[table], int(self.choice[table])
        allowed = value[: now + 1] if events < self._held[table] else value
        best = int(allowed.argmax())
        margin = self.tuning.margin * self._ghosts.weight[table]
        return best if allowed[best] > value[now] + margin else now

    def _choose(self, table: int, choice: int) -> Change:
        before, after = float(self.half_life[table]), float(self.candidates[table, choice])
        self.choice[table], self.half_life[table] = choice, after
        return Change(table, before, after)

    def coverage(self, table: int) -> list[CoveragePoint]:
        """Share of the recent look-ups that the best n rows would have found, at rising n.

        Empty where the table has no ghost caches or they have seen nothing yet.
        """
        hits = np.maximum(self._ghosts.hits[table], 0.0)
        if not hits.sum():
            return []
        share = self._ghosts.limit[table] / (1 << 24)
        found = np.cumsum(hits)[:-1] / hits.sum()
        tracked = (self._ghosts.base[table + 1] - self._ghosts.base[table]) / share
        rows = np.minimum(bin_ends() / share, tracked).astype(np.int64).tolist()
        points = {n: CoveragePoint(n, float(c)) for n, c in zip(rows, found, strict=True)}
        return list(points.values())

    def resize(self, owned: I64) -> None:
        """Follow tables to these numbers of rows [F]; those that change are judged anew."""
        old = self._ghosts
        new = empty_ghosts(np.where(self.learns, owned, 0), self.candidates.shape[1])
        for table in range(owned.size):
            new.origin[table] = old.origin[table]
            if new.limit[table] == old.limit[table]:  # ranks in another sample are others
                new.hits[table] = old.hits[table]
            if new.rows[table] == old.rows[table]:
                _copy_entries(old, new, table)
            else:
                self._blind[table] = True
        self._ghosts = new

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that decides later results, as copies."""
        state = self._ghosts
        entries = self._entries(state)
        kept = {name: getattr(state, name)[entries] for name in _BY_ENTRY}
        kept |= {name: getattr(state, name).copy() for name in _BY_TABLE}
        own: dict[str, npt.NDArray[np.generic]] = {
            "half_life": self.half_life.copy(),
            "choice": self.choice.copy(),
            "blind": self._blind.copy(),
            "held": self._held.copy(),
            "round_began": np.array([self._round_began]),
            "contested": np.array([self._contested]),
        }
        return kept | own

    def restore(self, arrays: dict[str, npt.NDArray[np.generic]], owned: I64) -> None:
        """Become what gave :meth:`arrays` at these numbers of rows [F]."""
        state = empty_ghosts(np.where(self.learns, owned, 0), self.candidates.shape[1])
        for name in _BY_TABLE:
            getattr(state, name)[:] = arrays[name]
        entries = self._entries(state)
        for name in _BY_ENTRY:
            getattr(state, name)[entries] = arrays[name]
        for table in range(owned.size):
            ghosts.index(state, table)
        self._ghosts = state
        self.half_life = np.array(arrays["half_life"], np.float64)
        self.choice = np.array(arrays["choice"], np.int64)
        self._held = np.array(arrays["held"], np.float64)
        self._blind = np.array(arrays["blind"], np.bool_)
        self._round_began = int(arrays["round_began"][0])
        self._contested = bool(arrays["contested"][0])

    @staticmethod
    def _entries(state: Ghosts) -> I64:
        spans = zip(state.base.tolist(), state.used.tolist(), strict=False)
        return np.concatenate([np.arange(start, start + used) for start, used in spans])


_BY_ENTRY = ("owner", "counts", "age", "bin")
_BY_TABLE = (
    "used",
    "origin",
    "seen",
    "total",
    "covered",
    "bar",
    "admits",
    "entered",
    "round_hits",
    "value",
    "weight",
    "hits",
    "judged",
    "idle",
)


def _copy_entries(old: Ghosts, new: Ghosts, table: int) -> None:
    used = old.used[table]
    here = slice(new.base[table], new.base[table] + used)
    there = slice(old.base[table], old.base[table] + used)
    for name in _BY_ENTRY:
        getattr(new, name)[here] = getattr(old, name)[there]
    for name in (
        "used",
        "seen",
        "total",
        "covered",
        "round_hits",
        "bar",
        "admits",
        "entered",
        "value",
        "weight",
        "judged",
        "idle",
    ):
        getattr(new, name)[table] = getattr(old, name)[table]
    new.ids.slots[new.ids.base[table] : new.ids.base[table + 1]] = EMPTY
    ghosts.index(new, table)
