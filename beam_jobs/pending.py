"""Impressions that wait for their clicks, by key: columns, no event by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_EMPTY = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Verdict:
    """What became of clicks [B]; every click is in exactly one of the four.

    Attributes:
        matched: the first within the attribution of its impression.
        again: within it, but not the first.
        late: after it.
        alone: no impression of its key waits, or it comes after the click.
    """

    matched: Mask
    again: Mask
    late: Mask
    alone: Mask


class Pending:
    """At most one waiting impression a key: parallel arrays [P], sorted by key.

    Arguments: ``attribution_ms``: how long after its impression a click counts.
    """

    def __init__(self, attribution_ms: int) -> None:
        self._attribution = attribution_ms
        self._keys = self._times = self._windows = self._rows = _EMPTY
        self._clicked = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def last_window(self) -> int | None:
        """End of the last window with an impression that waits."""
        return int(self._windows.max()) if len(self) else None

    def add(self, keys: Ints, times: Ints, window_end: int) -> Mask:
        """Impressions of a window [B] in their order; returns which of them are taken.

        One whose key waits already, in this window or an earlier one, is not.
        """
        fresh = np.zeros(len(keys), np.bool_)
        unique, first = np.unique(keys, return_index=True)
        known = self._find(unique)[1]
        fresh[first[~known]] = True
        added, at = unique[~known], first[~known]
        # The place of a row counts the rows that are taken, in their order.
        rows = np.cumsum(fresh)[at] - 1
        where = np.searchsorted(self._keys, added)
        self._keys = np.insert(self._keys, where, added)
        self._times = np.insert(self._times, where, times[at])
        self._windows = np.insert(self._windows, where, window_end)
        self._rows = np.insert(self._rows, where, rows)
        self._clicked = np.insert(self._clicked, where, False)
        return fresh

    def click(self, keys: Ints, times: Ints) -> Verdict:
        """Clicks [B] in their order."""
        place, known = self._find(keys)
        since = np.zeros(len(keys), np.int64)
        since[known] = times[known] - self._times[place[known]]
        late = known & (since >= self._attribution)
        hit = known & (since >= 0) & ~late
        matched = np.zeros(len(keys), np.bool_)
        hits = np.flatnonzero(hit)
        slots, first = np.unique(place[hits], return_index=True)
        new = ~self._clicked[slots]
        matched[hits[first[new]]] = True
        self._clicked[slots] = True
        return Verdict(matched, hit & ~matched, late, ~hit & ~late)

    def mark(self, keys: Ints) -> None:
        """These have been clicked, as far as they wait."""
        place, known = self._find(keys)
        self._clicked[place[known]] = True

    def release(self, window_end: int) -> Mask:
        """Let a window's impressions go; returns for each taken row whether it was clicked."""
        mine = self._windows == window_end
        clicked = np.zeros(int(mine.sum()), np.bool_)
        clicked[self._rows[mine]] = self._clicked[mine]
        for name in ("_keys", "_times", "_windows", "_rows", "_clicked"):
            setattr(self, name, getattr(self, name)[~mine])
        return clicked

    def _find(self, keys: Ints) -> tuple[Ints, Mask]:
        """The place of each key, and whether it is there; a place means nothing where not."""
        place = np.searchsorted(self._keys, keys)
        inside = place < len(self._keys)
        known = np.zeros(len(keys), np.bool_)
        known[inside] = self._keys[place[inside]] == keys[inside]
        return place, known
