"""A total of rows, split over tables by what another row of each would find.

A table's coverage curve says which share of its look-ups its best n ids make. Rows go, piece by
piece, to the table whose next ones find the most; with concave curves that is the best there is
(Stone, Turek & Wolf, IEEE Transactions on Computers 1992, split a cache like this; curves that are
not concave are replaced by the concave ones above them, as in Talus: Beckmann & Sanchez, HPCA
2015). Look-ups of all tables count alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

LEAST = 0.5
"""Share of its proportional part that a table keeps in any case.

Curves do not see the ids that come and go within one round."""

GAIN = 0.01
"""Coverage, on average over the tables, by which another split must be better to replace one."""


class Point(Protocol):
    """So many rows find this share of the look-ups."""

    @property
    def rows(self) -> int: ...

    @property
    def coverage(self) -> float: ...


@runtime_checkable
class Curved(Protocol):
    """A table that knows what more or fewer rows would find."""

    def coverage_curve(self) -> Sequence[Point]:
        """At rising numbers of rows; empty where nothing is known yet."""
        ...


Curve = list[tuple[int, float]]


def split(
    curves: Mapping[str, Curve], total: int, least: Mapping[str, int], full: Mapping[str, int]
) -> dict[str, int]:
    """Rows of every table, together no more than ``total``, that find the most look-ups.

    Args:
        curves: by table, rising numbers of rows and what they find.
        least, full: by table, no fewer and no more rows than these.

    >>> flat, steep = [(10, 0.9), (100, 1.0)], [(10, 0.1), (100, 1.0)]
    >>> split({"a": flat, "b": steep}, 80, {"a": 5, "b": 5}, {"a": 100, "b": 100})
    {'a': 10, 'b': 70}
    """
    rows = {name: least[name] for name in curves}
    left = total - sum(rows.values())
    for _, name, stop in sorted(_pieces(curves, rows, full)):
        given = max(0, min(left, stop - rows[name]))
        rows[name] += given
        left -= given
    return rows


def coverage(curve: Curve, rows: int) -> float:
    """What so many rows find, between the points of a curve.

    >>> coverage([(10, 0.5), (20, 0.6)], 5), coverage([(10, 0.5), (20, 0.6)], 40)
    (0.25, 0.6)
    """
    before = (0, 0.0)
    for point in curve:
        if rows <= point[0]:
            part = (rows - before[0]) / (point[0] - before[0])
            return before[1] + part * (point[1] - before[1])
        before = point
    return before[1]


def better(curves: Mapping[str, Curve], new: Mapping[str, int], old: Mapping[str, int]) -> bool:
    """Whether a split finds so much more than another that it is worth moving rows for."""
    gain = sum(coverage(c, new[name]) - coverage(c, old[name]) for name, c in curves.items())
    return gain > GAIN * len(curves)


def _pieces(
    curves: Mapping[str, Curve], least: Mapping[str, int], full: Mapping[str, int]
) -> list[tuple[float, str, int]]:
    """Pieces of all curves: minus what a row finds, the table, and the rows up to their ends."""
    found = []
    for name, curve in curves.items():
        hull = [(least[name], coverage(curve, least[name]))]
        inner = [point for point in curve if least[name] < point[0] < full[name]]
        for point in [*inner, (full[name], coverage(curve, full[name]))]:
            if point[0] <= hull[0][0]:
                continue
            while len(hull) > 1 and _slope(hull[-1], point) >= _slope(hull[-2], hull[-1]):
                hull.pop()
            hull.append(point)
        found += [(-_slope(a, b), name, b[0]) for a, b in pairwise(hull)]
    return found


def _slope(a: tuple[int, float], b: tuple[int, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
