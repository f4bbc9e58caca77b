"""Tables of several widths: narrow rows, and a linear map of each table to the model's width.

Rows of fewer dimensions for some features, projected to a common dimension: Ginart et al. 2019,
Mixed Dimension Embeddings with Application to Memory-Efficient Recommendation Systems
(arXiv 1909.11810). Differs from the paper in that a table has one width, given by hand, instead of
blocks of rows whose widths follow their popularity.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from stream_prune.embedding.bags import F32, Found, check, check_weights
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.tables import EmbeddingTables
from stream_prune.errors import ConfigError

_Lookup: TypeAlias = tuple[I64, I64 | None, F32 | None]


class TablesOfWidths(nn.Module):
    """Embeddings [B, F, D] like :class:`EmbeddingTables`, of tables that have widths of their own.

    Tables of one width lie together in an :class:`EmbeddingTables`. A bag of a narrow table is
    pooled at its own width and then multiplied by the table's projection [w, D], which has no bias.
    Projections are this module's parameters, for whoever trains the head; rows train in
    :meth:`step`, by gradients that came through the projections.

    A projection starts as w orthogonal rows of length sqrt(D / w), so an entry's mean square is
    1 / w: what comes out of a narrow table has the variance of a full one's rows.

    Methods that are not described here do what those of :class:`EmbeddingTables` do.

    Args:
        configs: one a feature, in the order of the features.
        dim: D, the width that the model reads.
        dims: widths by table, at most D; the others have D.
        lr: learning rate of the rows.
        seed: of cold rows and projections.
        device: where weights live.
        backend: flat or fbgemm.
        settings: what else :class:`EmbeddingTables` is to be told.

    Raises:
        ConfigError: a width that cannot be, by the key ``tables.dims.<table>``.
    """

    def __init__(
        self,
        configs: Sequence[TableConfig],
        dim: int,
        dims: Mapping[str, int],
        lr: float,
        seed: int = 0,
        device: str | torch.device = "cpu",
        backend: str = "flat",
        **settings: Any,
    ) -> None:
        super().__init__()
        check_widths([c.name for c in configs], dim, dims, backend)
        self.dim = dim
        self.configs = tuple(configs)
        widths = [dims.get(c.name, dim) for c in configs]
        self.widths = tuple(sorted(set(widths), reverse=True))
        self._columns = [[f for f, w in enumerate(widths) if w == width] for width in self.widths]
        order = [f for columns in self._columns for f in columns]
        self._order = torch.tensor(np.argsort(order), device=device)
        self.parts = nn.ModuleList(
            EmbeddingTables(
                [configs[f] for f in columns],
                width,
                lr,
                seed=seed + place,
                device=device,
                backend=backend,
                **settings,
            )
            for place, (width, columns) in enumerate(zip(self.widths, self._columns, strict=True))
        )
        draw = torch.Generator().manual_seed(seed)
        self.projections = nn.ParameterList(
            torch.stack([_projection(width, dim, draw) for _ in columns]).to(device)
            for width, columns in zip(self.widths, self._columns, strict=True)
            if width < dim
        )
        found = {name: table for part in self._parts for name, table in part.tables.items()}
        self.tables = {c.name: found[c.name] for c in configs}

    @property
    def _parts(self) -> list[EmbeddingTables]:
        return [part for part in self.parts if isinstance(part, EmbeddingTables)]

    @property
    def lr(self) -> float:
        """Learning rate of all rows."""
        return self._parts[0].lr

    @lr.setter
    def lr(self, value: float) -> None:
        for part in self._parts:
            part.lr = value

    @property
    def backend(self) -> str:
        """Which back end holds the rows: flat or fbgemm."""
        return self._parts[0].backend

    @property
    def storage(self) -> str:
        """The same with its releases, optimizer and place, and the widths, for people."""
        widths = ", ".join(str(width) for width in self.widths)
        return f"{self._parts[0].storage}, rows of widths {widths}"

    @property
    def nbytes(self) -> int:
        """Bytes of rows, accumulators and ids, and of the projections."""
        projections: int = sum(p.numel() * p.element_size() for p in self.projections)
        return projections + sum(part.nbytes for part in self._parts)

    @property
    def projection_macs(self) -> int:
        """Multiplications an example that projections cost when scored: w x D a narrow table."""
        products: int = sum(p.numel() for p in self.projections)
        return products

    def projection(self, table: str) -> Tensor | None:
        """A table's projection [w, D], a copy; None of a table of full width."""
        narrow = [
            columns for columns, w in zip(self._columns, self.widths, strict=True) if w < self.dim
        ]
        for weight, columns in zip(self.projections, narrow, strict=True):
            names = [self.configs[f].name for f in columns]
            if table in names:
                own: Tensor = weight[names.index(table)]
                return own.detach().clone()
        return None

    def forward(self, ids: I64, offsets: I64 | None = None, weights: F32 | None = None) -> Tensor:
        """Embeddings [B, F, D]; errors as for :meth:`EmbeddingTables.forward`."""
        split = self._split(ids, offsets, weights)
        return self._joined([p(*own) for p, own in zip(self._parts, split, strict=True)])

    def admit(
        self, ids: I64, offsets: I64 | None = None, weights: F32 | None = None
    ) -> tuple[Found, ...]:
        """Count a batch that is about to be learned; where its ids are now, for :meth:`read`."""
        split = self._split(ids, offsets, weights)
        for part, own in zip(self._parts, split, strict=True):
            part.lookup(*own[:2])  # refuses bad ids before any part has counted
        return tuple(p.admit(*own) for p, own in zip(self._parts, split, strict=True))

    def read(self, found: tuple[Found, ...]) -> Tensor:
        """Embeddings [B, F, D] of a batch that :meth:`admit` has found."""
        return self._joined([p.read(own) for p, own in zip(self._parts, found, strict=True)])

    def learnable(self, ids: I64, offsets: I64 | None = None) -> Tensor:
        """:meth:`admit`, then :meth:`read`."""
        return self.read(self.admit(ids, offsets))

    def step(self) -> None:
        """Train the rows; the projections are trained by whoever trains the head."""
        for part in self._parts:
            part.step()

    def finite(self) -> bool:
        """Whether all gradients that wait for :meth:`step` are finite."""
        return all(part.finite() for part in self._parts)

    def weights_finite(self) -> bool:
        """Whether all rows and projections are finite."""
        projections = all(bool(torch.isfinite(p).all()) for p in self.projections)
        return projections and all(part.weights_finite() for part in self._parts)

    def discard(self) -> None:
        """Forget the gradients that wait for :meth:`step`."""
        for part in self._parts:
            part.discard()

    def adapt(self) -> None:
        """Candidates contest the weakest rows, in each table."""
        for part in self._parts:
            part.adapt()

    def drifted(self) -> None:
        """A drift was signalled: learned half-lives get shorter until coverage says otherwise."""
        for part in self._parts:
            part.drifted()

    def resize(self, capacities: Mapping[str, int]) -> None:
        """New capacities of some tables, by name; see :meth:`EmbeddingTables.resize`."""
        for name in capacities:
            if name not in self.tables:
                raise KeyError(name)
        for part in self._parts:
            own = {name: rows for name, rows in capacities.items() if name in part.tables}
            if own:
                part.resize(own)

    def churn(self) -> dict[str, tuple[int, int]]:
        """(admissions, evictions) of each table since the last call."""
        counted = {n: moved for part in self._parts for n, moved in part.churn().items()}
        return {name: counted[name] for name in self.tables}

    def _joined(self, values: list[Tensor]) -> Tensor:
        """The parts' vectors [B, f, w], projected and in the order of the features."""
        narrow = iter(self.projections)
        full = [
            v if v.shape[-1] == self.dim else torch.einsum("bfw,fwd->bfd", v, next(narrow))
            for v in values
        ]
        return full[0] if len(full) == 1 else torch.cat(full, 1).index_select(1, self._order)

    def _split(self, ids: I64, offsets: I64 | None, weights: F32 | None) -> list[_Lookup]:
        """What each part is asked: the look-ups of its features."""
        spans, batch = check(ids, offsets, len(self.configs))
        check_weights(weights, ids)
        asked: list[_Lookup] = []
        for columns in self._columns:
            taken = np.concatenate([np.arange(spans[f], spans[f + 1]) for f in columns])
            own = None
            if offsets is not None:
                lengths = np.diff(offsets).reshape(-1, batch)[columns].reshape(-1)
                own = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
            asked.append((ids[taken], own, None if weights is None else weights[taken]))
        return asked


Tables: TypeAlias = EmbeddingTables | TablesOfWidths


def check_widths(names: Sequence[str], dim: int, dims: Mapping[str, int], backend: str) -> None:
    """Widths by table must be possible.

    Raises:
        ConfigError: an unknown table, a width outside [1, dim], or one that the back end lacks.
    """
    for name, width in dims.items():
        if name not in names:
            raise ConfigError(
                f"tables.dims.{name}: no such categorical column; there are: {', '.join(names)}"
            )
        if not 1 <= width <= dim:
            raise ConfigError(
                f"tables.dims.{name} = {width}: must be from 1 to the model's dim, {dim}"
            )
        if backend == "fbgemm" and width % 4:
            raise ConfigError(
                f"tables.dims.{name} = {width}: FBGEMM needs a multiple of 4: use another width, "
                "or tables.backend 'flat'"
            )


def _projection(width: int, dim: int, draw: torch.Generator) -> Tensor:
    gain = math.sqrt(dim / width)
    return nn.init.orthogonal_(torch.empty(width, dim), gain=gain, generator=draw)
