"""Embedding tables with a row capacity, whose row set follows the stream."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_prune.embedding.config import TableConfig
    from stream_prune.embedding.tables import EmbeddingTables, RowTable

__all__ = ["EmbeddingTables", "RowTable", "TableConfig"]


def __getattr__(name: str) -> object:
    if name == "TableConfig":
        from stream_prune.embedding.config import TableConfig

        return TableConfig
    if name in __all__:
        from stream_prune.embedding import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
