"""The embedding tables of an artifact: from ids to embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load_file

from stream_prune.artifact.format import IDS, TABLES
from stream_prune.artifact.inputs import Inputs
from stream_prune.artifact.model_card import ModelCard
from stream_prune.artifact.narrow_rows import NarrowRows, read_projections
from stream_prune.artifact.row_index import RowIndex
from stream_prune.artifact.stored_rows import StoredRows
from stream_prune.embedding.bag_cap import last_values
from stream_prune.errors import RunError

Floats = npt.NDArray[np.float32]


class ArtifactTables:
    """The rows of F tables, found by their ids, as embeddings of dimension D.

    Args:
        index: where the row of an id is.
        rows: the rows of all tables, one table after another.
        means: of each table [F], whether bags are averaged; those of others are summed.
        most: of each table [F], how many values of a bag count, the last ones; None: all.
    """

    def __init__(
        self,
        index: RowIndex,
        rows: StoredRows | NarrowRows,
        means: Sequence[bool],
        most: Sequence[int | None],
    ) -> None:
        self._index, self._rows, self._means, self._most = index, rows, means, most
        self._caps = any(each is not None for each in most)
        self._cold = rows.take(rows.first[:-1])

    @classmethod
    def read(cls, folder: Path, card: ModelCard) -> ArtifactTables:
        """The tables of an artifact folder.

        Raises:
            RunError: a file can't be read, or does not hold what the model card says.
        """
        try:
            stored = load_file(folder / TABLES)
        except (OSError, SafetensorError) as error:
            raise RunError(f"{folder / TABLES}: cannot be read: {error}") from None
        lines = read_arrow(folder / IDS)
        ids = {
            name: values.values.to_numpy()
            for name, values in zip(lines["table"].to_pylist(), lines["ids"], strict=True)
        }
        for table in card.tables:
            if table.name not in stored or len(stored[table.name]) != table.rows + table.cold:
                raise RunError(
                    f"{folder / TABLES}: table {table.name!r}: there are no "
                    f"{table.rows + table.cold} rows"
                )
            known = ids.get(table.name)
            if known is None or len(known) != table.rows or not (known[1:] > known[:-1]).all():
                raise RunError(
                    f"{folder / IDS}: table {table.name!r}: there are no {table.rows} ascending ids"
                )
        try:
            tables = [stored[table.name] for table in card.tables]
            rows: StoredRows | NarrowRows
            if any(table.dim is not None for table in card.tables):
                found = read_projections(folder, card.tables, card.dim)
                rows = NarrowRows(tables, card.tables, card.numbers, card.dim, found)
            else:
                rows = StoredRows(tables, card.numbers, card.dim)
        except RunError as error:
            raise RunError(f"{folder / TABLES}: {error}") from None
        known = [ids[table.name] for table in card.tables]
        index = RowIndex.of(known, [table.cold for table in card.tables])
        means = [table.combine == "mean" for table in card.tables]
        return cls(index, rows, means, [table.most_values for table in card.tables])

    def look_up(self, inputs: Inputs) -> Floats:
        """Embeddings float32 [B, F, D]; unknown ids and empty bags have a cold row."""
        if inputs.offsets is None:
            found = self._index.rows(inputs.ids, inputs.rows)
            return self._rows.take(found.reshape(-1, inputs.rows).T)
        if self._caps:
            inputs = self._capped(inputs)
        lengths, bounds = inputs.lengths, inputs.bounds
        rows = self._rows.take(self._index.rows(inputs.ids, lengths))
        emb = np.empty((inputs.rows, len(lengths), self._rows.dim), np.float32)
        for f, part in enumerate(np.split(rows, np.cumsum(lengths)[:-1])):
            offsets = bounds[f]
            if offsets is not None:
                part = _pooled(part, offsets, self._cold[f], self._means[f])
            emb[:, f] = part
        return emb

    def _capped(self, inputs: Inputs) -> Inputs:
        """Without the values of bags that don't count."""
        ids, bounds = inputs.columns, list(inputs.bounds)
        for f, most in enumerate(self._most):
            own = bounds[f]
            if most is not None and own is not None:
                kept, bounds[f] = last_values(own, most)
                ids[f] = ids[f][kept]
        return Inputs.of(inputs.dense, ids, bounds)


def read_arrow(path: Path) -> pa.Table:
    """The table in an Arrow file.

    Raises:
        RunError: it can't be read.
    """
    try:
        with pa.OSFile(str(path)) as file:
            return pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None


def _pooled(rows: Floats, offsets: npt.NDArray[np.int64], cold: Floats, mean: bool) -> Floats:
    """Mean or sum [B, D] of the rows of each bag; the cold row [D] for an empty one."""
    counts = np.diff(offsets)
    pooled = np.repeat(cold[None], len(counts), axis=0)
    filled = counts > 0
    if filled.any():
        # An empty bag ends where it begins, so the begins of the others cut all rows into bags.
        sums = np.add.reduceat(rows, offsets[:-1][filled], axis=0)
        pooled[filled] = sums / counts[filled, None].astype(np.float32) if mean else sums
    return pooled
