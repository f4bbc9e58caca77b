"""What one embedding table may hold and how its row set follows the stream."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TableConfig:
    """One categorical feature's table.

    Args:
        name: the feature.
        capacity: rows that ids may own, besides the cold row that all other ids share; 0 is allowed
            (every id finds the cold row).
        follow: True: the row set follows the stream. False: ids are admitted while there is room,
            and the first resize that cuts the capacity keeps the best rows and freezes the set.
        admission: sightings before an id may own a row, in decayed counts rounded to the nearest
            whole: two sightings within a half-life are two. With 1 an id owns a row at first sight.
        half_life: events (rows of the stream) after which a sighting counts half.
        hysteresis: how many times the count of the weakest row a newcomer needs to take its place.

    Raises:
        ValueError: a value out of range, by name.
    """

    name: str
    capacity: int
    follow: bool = True
    admission: int = 2
    half_life: float = 20_000.0
    hysteresis: float = 1.2

    def __post_init__(self) -> None:
        limits = {"capacity": 0, "admission": 1, "half_life": 1, "hysteresis": 1}
        for field, least in limits.items():
            value = getattr(self, field)
            if not value >= least:  # refuses NaN too
                raise ValueError(f"table {self.name!r}: {field} = {value}: must be {least} or more")
