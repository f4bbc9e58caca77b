"""One embedding table as a plan sees it."""

from typing import TYPE_CHECKING

from torch import Tensor

from stream_prune.embedding.half_lives import CoveragePoint
from stream_prune.embedding.id_map import I64

if TYPE_CHECKING:
    from stream_prune.embedding.tables import EmbeddingTables


class RowTable:
    """One table as its owner sees it: a capacity, and the rows that ids own in it."""

    def __init__(self, owner: "EmbeddingTables", index: int) -> None:
        self._owner = owner
        self._index = index
        self.name = owner.configs[index].name
        self.combine = owner.configs[index].combine
        self.most_values = owner.configs[index].most_values

    @property
    def capacity(self) -> int:
        """All rows of the table but one cold row."""
        return int(self._owner.cache.capacity[self._index])

    @property
    def cold_rows(self) -> int:
        """Rows shared by the ids that own none."""
        return int(self._owner.cache.rows.cold[self._index])

    @property
    def half_life(self) -> float:
        """Events after which a sighting counts half, at present."""
        return float(self._owner.cache.learned.half_life[self._index])

    @property
    def rows_used(self) -> int:
        """Rows that ids own now."""
        return int(self._owner.cache.rows.used[self._index])

    @property
    def dim(self) -> int:
        """Width of a row, which may be less than the model's."""
        return self._owner.dim

    @property
    def bytes_per_row(self) -> int:
        """Weight and optimizer state of a row, in bytes."""
        return 4 * (self._owner.dim + 1)

    @property
    def storage(self) -> "EmbeddingTables":
        """All the tables that lie together, which can be resized at once."""
        return self._owner

    def ids(self) -> I64:
        """The ids that own rows [rows_used], a copy."""
        return self._owner.cache.rows.owner[self._owner.cache.owned(self._index)].copy()

    def weight(self) -> Tensor:
        """The cold rows, then the rows of :meth:`ids` [cold_rows + rows_used, D], a copy."""
        cache = self._owner.cache
        start, stop = cache.shared(self._index).start, cache.owned(self._index).stop
        return self._owner.weight[start:stop].clone()

    def coverage_curve(self) -> list[CoveragePoint]:
        """Share of the recent look-ups that the n best ids would have made, at rising n.

        Of the ids' ranks a round earlier, so it is what n rows would have found of what came next.
        Empty where the table has no candidate half-lives, or has seen nothing yet.
        """
        return self._owner.cache.learned.coverage(self._index)

    def resize(self, capacity: int) -> None:
        """A new capacity; see :meth:`EmbeddingTables.resize`."""
        self._owner.resize({self.name: capacity})
