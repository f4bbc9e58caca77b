"""Embedding tables with a row capacity, whose row set follows the stream."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_prune.embedding.config import TableConfig
    from stream_prune.embedding.drop_in import StreamEmbedding, StreamEmbeddingBag
    from stream_prune.embedding.row_table import RowTable
    from stream_prune.embedding.swap import swap_tables
    from stream_prune.embedding.tables import EmbeddingTables

__all__ = [
    "EmbeddingTables",
    "RowTable",
    "StreamEmbedding",
    "StreamEmbeddingBag",
    "TableConfig",
    "swap_tables",
]


def __getattr__(name: str) -> object:
    if name == "TableConfig":
        from stream_prune.embedding.config import TableConfig

        return TableConfig
    if name == "RowTable":
        from stream_prune.embedding.row_table import RowTable

        return RowTable
    if name in ("StreamEmbedding", "StreamEmbeddingBag"):
        from stream_prune.embedding import drop_in

        return getattr(drop_in, name)
    if name == "swap_tables":
        from stream_prune.embedding.swap import swap_tables

        return swap_tables
    if name == "EmbeddingTables":
        from stream_prune.embedding.tables import EmbeddingTables

        return EmbeddingTables
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
