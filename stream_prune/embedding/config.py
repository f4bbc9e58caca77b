"""What one embedding table may hold and how its row set follows the stream."""

from collections.abc import Sequence
from dataclasses import dataclass

HALF_LIVES = (500.0, 2_000.0, 10_000.0, 50_000.0, 200_000.0)
"""Half-lives, in events, that are worth choosing among on most streams."""

COMBINES = ("mean", "sum")
BACK_ENDS = ("flat", "fbgemm")


@dataclass(frozen=True)
class TableConfig:
    """One categorical feature's table.

    Args:
        name: the feature.
        capacity: rows, besides one cold row that is always there; 0 is allowed (every id finds the
            cold row).
        follow: True: the row set follows the stream. False: ids are admitted while there is room,
            and the first resize that cuts the capacity keeps the best rows and freezes the set.
        admission: sightings before an id may own a row, in decayed counts rounded to the nearest
            whole: two sightings within a half-life are two. With 1 an id owns a row at first sight.
        half_life: events (rows of the stream) after which a sighting counts half.
        half_lives: ascending; ghost caches choose among them what ``half_life`` is from then on.
            Empty: it stays.
        hysteresis: how many times the count of the weakest row a newcomer needs to take its place.
        cold_share: share of the capacity that becomes further cold rows, addressed by hash, for the
            ids without a row of their own. For streams of many ids that are each rare.
        waiting: rows that evicted ids keep waiting, as a share of the capacity; they come back with
            their weights and optimizer state. They cost memory in training, none when served.
        combine: how the vectors of a bag become one: mean or sum.
        most_values: of a longer bag only so many values count, the last ones; None: all. The others
            are not looked at, so they are neither counted nor checked.

    Raises:
        ValueError: a value out of range, by name.
    """

    name: str
    capacity: int
    follow: bool = True
    admission: int = 2
    half_life: float = 20_000.0
    half_lives: Sequence[float] = ()
    hysteresis: float = 1.2
    cold_share: float = 0.0
    waiting: float = 0.0
    combine: str = "mean"
    most_values: int | None = None

    def __post_init__(self) -> None:
        limits = {"capacity": 0, "admission": 1, "half_life": 1, "hysteresis": 1, "waiting": 0}
        for field, least in limits.items():
            value = getattr(self, field)
            if not value >= least:  # refuses NaN too
                raise self._refused(field, f"must be {least} or more")
        if not 0 <= self.cold_share <= 1:
            raise self._refused("cold_share", "must be in [0, 1]")
        rising = all(a < b for a, b in zip(self.half_lives, self.half_lives[1:], strict=False))
        if not rising or not all(h >= 1 for h in self.half_lives):
            raise self._refused("half_lives", "must ascend, each 1 or more")
        if self.most_values is not None and self.most_values < 1:
            raise self._refused("most_values", "must be 1 or more, or left out")
        if self.combine not in COMBINES:
            raise self._refused("combine", f"must be one of {', '.join(COMBINES)}")

    def _refused(self, field: str, why: str) -> ValueError:
        return ValueError(f"table {self.name!r}: {field} = {getattr(self, field)}: {why}")

    def cold_rows(self, capacity: int) -> int:
        """Cold rows at a capacity, the one that is always there included."""
        return 1 + int(self.cold_share * capacity)
