"""Rows of tables that are narrower than the model reads: stored narrow, projected at look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from stream_prune.artifact.format import HEAD
from stream_prune.artifact.model_card import TableCard
from stream_prune.artifact.stored_rows import Floats, StoredRows
from stream_prune.artifact.table_files import projection_name
from stream_prune.errors import RunError


class NarrowRows:
    """The rows of all tables, one after another, some of them narrow; read as float32 of width D.

    In memory, as on disk, a narrow row takes its own width.

    Args:
        tables: what :func:`.stored_rows.store` made of each table [V, ...].
        cards: of the tables.
        numbers: how rows are stored.
        dim: D.
        projections: [w, D], by table, of those that are narrow.

    Raises:
        RunError: a table is of another type or width.
    """

    def __init__(
        self,
        tables: Sequence[npt.NDArray[np.generic]],
        cards: Sequence[TableCard],
        numbers: str,
        dim: int,
        projections: Mapping[str, Floats],
    ) -> None:
        self.dim = dim
        self.first: npt.NDArray[np.int64] = np.cumsum([0, *(len(table) for table in tables)])
        full = [at for at, card in enumerate(cards) if card.dim is None]
        narrow = [at for at, card in enumerate(cards) if card.dim is not None]
        parts = [(full, dim), *(([at], cards[at].dim or dim) for at in narrow)]
        self._parts = [StoredRows([tables[at] for at in own], numbers, w) for own, w in parts]
        self._projections = [projections[cards[at].name] for at in narrow]
        self._part = np.zeros(len(tables), np.int64)
        self._part[narrow] = np.arange(1, len(parts))
        # What takes a row's place among all to its place in its part.
        self._shift = self.first[:-1].copy()
        self._shift[full] -= self._parts[0].first[:-1]

    def take(self, rows: npt.NDArray[np.int64]) -> Floats:
        """Rows float32 [..., D] by their place among all [...]."""
        asked = rows.reshape(-1)
        table = np.searchsorted(self.first, asked, side="right") - 1
        part, place = self._part[table], asked - self._shift[table]
        taken = np.empty((len(asked), self.dim), np.float32)
        for number, stored in enumerate(self._parts):
            at = np.flatnonzero(part == number)
            values = stored.take(place[at])
            taken[at] = values @ self._projections[number - 1] if number else values
        return taken.reshape(*rows.shape, self.dim)


def read_projections(folder: Path, cards: Sequence[TableCard], dim: int) -> dict[str, Floats]:
    """The projections [w, D] of an artifact's narrow tables.

    Raises:
        RunError: the head's file can't be read, or does not hold what the model card says.
    """
    path, found = folder / HEAD, {}
    try:
        with safe_open(path, framework="numpy") as file:
            there = set(file.keys())
            for card in cards:
                name = projection_name(card.name)
                if card.dim is not None and name in there:
                    found[card.name] = file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path}: cannot be read: {error}") from None
    for card in cards:
        if card.dim is None:
            continue
        shape = found[card.name].shape if card.name in found else None
        if shape != (card.dim, dim):
            raise RunError(
                f"{path}: table {card.name!r}: there is no projection from {card.dim} to {dim}"
            )
    return found
