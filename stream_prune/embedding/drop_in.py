"""Modules with the signatures of nn.Embedding and nn.EmbeddingBag whose rows follow the stream."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stream_prune.embedding.bags import F32
from stream_prune.embedding.carry_over import adopt
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.row_table import RowTable
from stream_prune.embedding.tables import EmbeddingTables
from stream_prune.errors import ConfigError

PLAIN = TableConfig("embedding", 0)
"""What a table is like where nothing else is said; its name, capacity and combine don't count."""


class _Rows(nn.Module):
    """One table of :class:`EmbeddingTables`, trained by a loop that knows nothing of it."""

    def __init__(
        self, config: TableConfig, dim: int, lr: float, eps: float, window_rows: int, **options: Any
    ) -> None:
        super().__init__()
        where = f"table {config.name!r}"
        if window_rows < 1:
            raise ConfigError(f"{where}: window_rows = {window_rows}: must be at least 1")
        if not lr > 0:
            raise ConfigError(f"{where}: lr = {lr}: must be above 0")
        if options["max_norm"] is not None:
            raise ConfigError(f"{where}: max_norm = {options['max_norm']}: must be None")
        if options["scale_grad_by_freq"]:
            raise ConfigError(f"{where}: scale_grad_by_freq = True: must be False")
        if options["dtype"] not in (None, torch.float32):
            raise ConfigError(f"{where}: dtype = {options['dtype']}: must be torch.float32")
        self.num_embeddings, self.embedding_dim = config.capacity, dim
        self.padding_idx: int | None = options["padding_idx"]
        if self.padding_idx is not None and self.padding_idx < 0:
            self.padding_idx += config.capacity  # as torch counts: from the end
        self.window_rows = window_rows
        self._contest_due = False
        device = options["device"] or "cpu"
        self.rows = EmbeddingTables([config], dim, lr, eps, device=device)
        if options["_weight"] is not None:
            adopt(self.rows, options["_weight"])

    @property
    def table(self) -> RowTable:
        """The table as a controller takes it, and with what it holds now."""
        return next(iter(self.rows.tables.values()))

    def learned(self) -> None:
        """Apply the gradients that wait; after the last step of a window let candidates contest.

        Gradients that are not finite are dropped.
        """
        if self.rows.finite():
            self.rows.step()
        else:
            self.rows.discard()
        if self._contest_due:
            self.rows.adapt()
            self._contest_due = False

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.table.capacity}, {self.embedding_dim}{padding}"

    def _read(self, ids: I64, offsets: I64 | None, weights: F32 | None) -> Tensor:
        """Vectors [bags, D]; ids are counted and admitted only where they are learned."""
        if not (self.training and torch.is_grad_enabled()):
            values: Tensor = self.rows(ids, offsets, weights)
            return values.squeeze(1)
        windows = self.rows.cache.events // self.window_rows
        found = self.rows.admit(ids, offsets, weights)
        self._contest_due |= self.rows.cache.events // self.window_rows > windows
        return self.rows.read(found).squeeze(1)


class StreamEmbedding(_Rows):
    """``nn.Embedding`` with a row capacity: ids may be any int64 of 0 or more.

    In ``train()`` with gradients enabled a look-up counts its ids and admits them; in ``eval()`` or
    under ``no_grad()`` it changes nothing. A backward pass leaves the rows' gradients in the
    module, and :meth:`learned` applies them (fused row-wise Adagrad): what
    :func:`~stream_prune.embedding.swap.swap_tables` lets every step of the optimizer do.

    Differs from torch's in: there is no ``weight`` parameter; ``num_embeddings`` is a capacity and
    no bound of the ids; gradients are as of ``sparse=True`` whatever ``sparse`` says; new ids start
    as the table's cold row, whose components are drawn with standard deviation .05.

    Args:
        num_embeddings: the capacity.
        embedding_dim: D.
        padding_idx: this id is a vector of zeros, which is neither counted nor learned.
        max_norm, scale_grad_by_freq, dtype: only torch's defaults.
        norm_type, sparse: taken and without effect.
        _weight: rows [num_embeddings, D] that the ids 0, 1, .. own from the start.
        _freeze: only False.
        device: where the rows live.
        lr, eps: of the rows' Adagrad.
        config: how the rows follow the stream; its events are look-ups.
        window_rows: look-ups after which candidates contest the weakest rows.

    Raises:
        ConfigError: an option that is not supported, by name.
        ValueError: when called, a negative id.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        lr: float = 0.05,
        eps: float = 1e-10,
        config: TableConfig = PLAIN,
        window_rows: int = 4096,
    ) -> None:
        del norm_type, sparse
        if _freeze:
            raise ConfigError(f"table {config.name!r}: _freeze = True: must be False")
        super().__init__(
            replace(config, capacity=num_embeddings, combine="mean"),
            embedding_dim,
            lr,
            eps,
            window_rows,
            padding_idx=padding_idx,
            max_norm=max_norm,
            scale_grad_by_freq=scale_grad_by_freq,
            _weight=_weight,
            device=device,
            dtype=dtype,
        )

    # Look-ups are compiled already, by Numba.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Vectors [..., D] of ids [...]."""
        ids = _integers(input).reshape(-1)
        shape = (*input.shape, self.embedding_dim)
        if self.padding_idx is None:
            return self._read(ids, None, None).view(shape)
        real = ids != self.padding_idx
        values = self._read(ids[real], None, None)
        at = torch.from_numpy(np.flatnonzero(real)).to(values.device)
        return values.new_zeros(ids.size, values.shape[1]).index_copy(0, at, values).view(shape)


class StreamEmbeddingBag(_Rows):
    """``nn.EmbeddingBag`` with a row capacity, for sums and means; see :class:`StreamEmbedding`.

    An empty bag is a vector of zeros, and so is a bag of nothing but ``padding_idx``. Of the
    configuration's events each bag is one. ``per_sample_weights`` must be finite and not negative,
    and get no gradient.

    Raises:
        ConfigError: an option that is not supported, by name.
        ValueError: when called, a negative id, or offsets or weights that don't fit.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        *,
        lr: float = 0.05,
        eps: float = 1e-10,
        config: TableConfig = PLAIN,
        window_rows: int = 4096,
    ) -> None:
        del norm_type, sparse
        if mode not in ("mean", "sum"):
            raise ConfigError(f"table {config.name!r}: mode = {mode!r}: must be mean or sum")
        super().__init__(
            replace(config, capacity=num_embeddings, combine=mode),
            embedding_dim,
            lr,
            eps,
            window_rows,
            padding_idx=padding_idx,
            max_norm=max_norm,
            scale_grad_by_freq=scale_grad_by_freq,
            _weight=_weight,
            device=device,
            dtype=dtype,
        )
        self.mode = mode
        self.include_last_offset = include_last_offset

    # Look-ups are compiled already, by Numba.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        input: Tensor,  # noqa: A002 (torch's name)
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Vectors [B, D] of bags: ``input`` [B, L], or [n] with the bags' starts ``offsets``."""
        ids, bounds = _integers(input).reshape(-1), self._bounds(input, offsets)
        weights = None if per_sample_weights is None else self._weights(input, per_sample_weights)
        if self.padding_idx is not None:
            real = ids != self.padding_idx
            bounds = np.concatenate(([0], np.cumsum(real)))[bounds]
            ids, weights = ids[real], None if weights is None else weights[real]
        values = self._read(ids, bounds, weights)
        empty = torch.from_numpy(np.diff(bounds) == 0).to(values.device)
        return values.masked_fill(empty.unsqueeze(1), 0.0)

    def _bounds(self, input: Tensor, offsets: Tensor | None) -> I64:  # noqa: A002
        """int64 [B + 1]."""
        if input.dim() == 2 and offsets is None:
            bags, length = input.shape
            return np.arange(bags + 1) * length
        if input.dim() != 1 or offsets is None:
            raise ValueError(
                f"input of shape {list(input.shape)} {'without' if offsets is None else 'with'} "
                "offsets: must be [B, L] without or [n] with them"
            )
        starts = _integers(offsets)
        if not self.include_last_offset:
            starts = np.append(starts, input.numel())
        if starts.size == 0 or starts[0] != 0 or starts[-1] != input.numel():
            raise ValueError(f"offsets must rise from 0 to the number of ids, {input.numel()}")
        if np.any(np.diff(starts) < 0):
            raise ValueError("offsets must not fall")
        return starts

    def _weights(self, input: Tensor, weights: Tensor) -> F32:  # noqa: A002
        if self.mode != "sum":
            raise ValueError("per_sample_weights: only where mode is sum")
        if weights.requires_grad:
            raise ValueError("per_sample_weights: get no gradient here; detach() them")
        if weights.shape != input.shape:
            raise ValueError(
                f"per_sample_weights of shape {list(weights.shape)}: must be {list(input.shape)}"
            )
        return weights.reshape(-1).cpu().numpy()


def _integers(values: Tensor) -> I64:
    if values.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"ids and offsets: {values.dtype}: must be torch.int64 or torch.int32")
    return values.detach().to("cpu", torch.int64).numpy()
