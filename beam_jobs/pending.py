"""Impressions that wait for their clicks, by key: columns, no event by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_EMPTY = np.zeros(0, np.int64)
_NOT_YET = -1


@dataclass(frozen=True)
class Verdict:
    """What became of clicks, or of conversions [B]; each is in exactly one of the four.

    Attributes:
        matched: the first within the attribution of its impression (a conversion: of its click).
        again: within it, but not the first.
        late: after it.
        alone: no impression of its key waits (was clicked), or it comes after.
    """

    matched: Mask
    again: Mask
    late: Mask
    alone: Mask


class Pending:
    """At most one waiting impression a key: parallel arrays [P], sorted by key.

    Args:
        attribution_ms: how long after its impression a click counts.
        conversion_ms: how long after its click a conversion counts; None: there are none, and a
            click alone makes a positive.
    """

    def __init__(self, attribution_ms: int, conversion_ms: int | None = None) -> None:
        self._attribution, self._conversion = attribution_ms, conversion_ms
        self._keys = self._times = self._windows = self._rows = _EMPTY
        self._clicked = self._converted = _EMPTY  # when; _NOT_YET

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
        self._clicked = np.insert(self._clicked, where, _NOT_YET)
        self._converted = np.insert(self._converted, where, _NOT_YET)
        return fresh

    def click(self, keys: Ints, times: Ints) -> Verdict:
        """Clicks [B] in their order."""
        return self._follow(keys, times, self._times, self._clicked, self._attribution)

    def convert(self, keys: Ints, times: Ints) -> Verdict:
        """Conversions [B] in their order, after the clicks of their window."""
        assert self._conversion is not None
        return self._follow(keys, times, self._clicked, self._converted, self._conversion)

    def _follow(
        self, keys: Ints, times: Ints, since_when: Ints, when: Ints, attribution: int
    ) -> Verdict:
        """Events after what happened to their impressions at ``since_when``; sets ``when`` [P]."""
        place, known = self._find(keys)
        known[known] = since_when[place[known]] != _NOT_YET
        since = np.zeros(len(keys), np.int64)
        since[known] = times[known] - since_when[place[known]]
        late = known & (since >= attribution)
        hit = known & (since >= 0) & ~late
        matched = np.zeros(len(keys), np.bool_)
        hits = np.flatnonzero(hit)
        slots, first = np.unique(place[hits], return_index=True)
        new = when[slots] == _NOT_YET
        matched[hits[first[new]]] = True
        when[slots[new]] = times[hits[first[new]]]
        return Verdict(matched, hit & ~matched, late, ~hit & ~late)

    def mark_clicked(self, keys: Ints, times: Ints) -> None:
        """These have been clicked then, as far as they wait."""
        place, known = self._find(keys)
        self._clicked[place[known]] = times[known]

    def mark_converted(self, keys: Ints, times: Ints) -> None:
        """These have been converted then, as far as they wait."""
        place, known = self._find(keys)
        self._converted[place[known]] = times[known]

    def release(self, window_end: int) -> Mask:
        """Let a window's impressions go; returns for each taken row whether it is a positive."""
        mine = self._windows == window_end
        came = self._clicked if self._conversion is None else self._converted
        positive = np.zeros(int(mine.sum()), np.bool_)
        positive[self._rows[mine]] = came[mine] != _NOT_YET
        for name in ("_keys", "_times", "_windows", "_rows", "_clicked", "_converted"):
            setattr(self, name, getattr(self, name)[~mine])
        return positive

    def _find(self, keys: Ints) -> tuple[Ints, Mask]:
        """The place of each key, and whether it is there; a place means nothing where not."""
        place = np.searchsorted(self._keys, keys)
        inside = place < len(self._keys)
        known = np.zeros(len(keys), np.bool_)
        known[inside] = self._keys[place[inside]] == keys[inside]
        return place, known
