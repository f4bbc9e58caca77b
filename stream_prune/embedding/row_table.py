"""One embedding table as a plan sees it."""

from typing import TYPE_CHECKING

from torch import Tensor

from stream_prune.embedding.id_map import I64

if TYPE_CHECKING:
    from stream_prune.embedding.tables import EmbeddingTables


class RowTable:
    """One table as its owner sees it: a capacity, and the rows that ids own in it."""

    def __init__(self, owner: "EmbeddingTables", index: int) -> None:
        self._owner = owner
        self._index = index
        self.name = owner.configs[index].name

    @property
    def capacity(self) -> int:
        """Rows that ids may own; the cold row is one more."""
        return int(self._owner.cache.rows.capacity[self._index])

    @property
    def rows_used(self) -> int:
        """Rows that ids own now."""
        return int(self._owner.cache.rows.used[self._index])

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
        """The cold row, then the rows of :meth:`ids` [rows_used + 1, D], a copy."""
        owned = self._owner.cache.owned(self._index)
        return self._owner.weight[owned.start - 1 : owned.stop].clone()

    def resize(self, capacity: int) -> None:
        """A new capacity; see :meth:`EmbeddingTables.resize`."""
        self._owner.resize({self.name: capacity})
