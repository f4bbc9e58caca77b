"""All embedding tables of a model as one flat weight, with its optimizer and its row set."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stream_prune.embedding.back_ends import back_end
from stream_prune.embedding.bag_cap import last_values
from stream_prune.embedding.bags import F32, Found, batch_major, check, check_weights
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.gradients import Gradients, Pooled
from stream_prune.embedding.half_lives import Tuning
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.moves import Moves, leave, move
from stream_prune.embedding.row_cache import RowCache
from stream_prune.embedding.row_table import RowTable

_ALL = 2**62  # more values than a bag can have


class EmbeddingTables(nn.Module):
    """Embeddings of F categorical features, each with a limited number of rows.

    Of bags longer than their table's ``most_values`` all methods see the last values alone.

    A table's first row is its *cold row*: what an id without a row of its own reads and trains;
    with ``cold_share`` there are more, addressed by hash. An evicted row may wait to come back.
    Weights and accumulators are buffers, so a dense optimizer over ``parameters()`` leaves them
    alone; :meth:`step` trains them with fused row-wise Adagrad.

    A learn step is ``admit(ids)``, forward (or :meth:`read` of what ``admit`` found),
    ``loss.backward()``, ``step()``, and after the last step of a window ``adapt()``. Scoring is
    forward alone under ``torch.no_grad()``: it counts nothing, inserts nothing and moves nothing.

    Any int64 in [0, 2^63 - 1] is an ordinary id, the one that stands for a missing value included.
    A duplicate is counted as often as it occurs, and its gradients are summed before the one step.

    Args:
        configs: one a feature, in the order of the features.
        dim: D, the embedding dimension.
        lr: learning rate; ``rate`` multiplies it.
        eps: added to the root of the accumulator.
        init_std: standard deviation of the cold rows at the start; other rows start as the cold
            row is when their id comes.
        seed: of that draw.
        device: where weights live; the id maps stay on the host.
        backend: ``flat``, or ``fbgemm`` (the extra of that name); results agree to float32
            rounding, and either loads the other's states.
        tuning: how ghost caches judge half-lives, where a table has candidates.

    Raises:
        ValueError: no table, or two of one name.
    """

    weight: Tensor
    accumulator: Tensor
    waiting_weight: Tensor
    waiting_accumulator: Tensor

    def __init__(
        self,
        configs: Sequence[TableConfig],
        dim: int,
        lr: float,
        eps: float = 1e-10,
        init_std: float = 0.05,
        seed: int = 0,
        device: str | torch.device = "cpu",
        backend: str = "flat",
        tuning: Tuning | None = None,
    ) -> None:
        super().__init__()
        names = [c.name for c in configs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"tables {names}: at least one, each with a name of its own")
        self.configs = tuple(configs)
        self.dim = dim
        self.lr = lr
        self.rate = 1.0
        self.cache = RowCache(configs, tuning)
        self._back_end = back_end(backend, eps)
        most = [c.most_values or _ALL for c in configs]
        self._most = None if min(most) == _ALL else np.array(most, np.int64)
        self._mean = np.array([c.combine == "mean" for c in configs], np.bool_)
        weight, accumulator = self._back_end.allocate(self.cache.size, dim, torch.device(device))
        self.register_buffer("weight", weight)
        self.register_buffer("accumulator", accumulator)
        slots = self.cache.rows.room.owner.size
        self.register_buffer("waiting_weight", weight.new_zeros(slots, dim))
        self.register_buffer("waiting_accumulator", weight.new_zeros(slots))
        cold = np.concatenate([np.arange(*self._cold(f)) for f in range(len(names))])
        draw = torch.randn(len(cold), dim, generator=torch.Generator().manual_seed(seed))
        weight[torch.from_numpy(cold).to(weight.device)] = init_std * draw.to(weight.device)
        self.tables = {c.name: RowTable(self, i) for i, c in enumerate(configs)}
        self._layout = 0  # rises whenever a row changes its owner or its place
        self._gradients = Gradients()
        self._awaited = False  # something was read whose gradient has not been applied

    @property
    def backend(self) -> str:
        """Which back end holds the vectors: flat or fbgemm."""
        return self._back_end.name

    @property
    def storage(self) -> str:
        """The same with its releases, optimizer and place, for people."""
        return f"{self._back_end.description} on {self.weight.device.type}"

    @property
    def nbytes(self) -> int:
        """Bytes of rows, accumulators and ids."""
        rows = self.weight.numel() + self.accumulator.numel()
        return 4 * rows + sum(array.nbytes for array in self.cache.arrays().values())

    def _cold(self, table: int) -> tuple[int, int]:
        rows = self.cache.shared(table)
        return rows.start, rows.stop

    def lookup(self, ids: I64, offsets: I64 | None = None) -> I64:
        """Flat rows of ids, in their order; an id without a row finds its table's cold row.

        Values beyond ``most_values`` have none.

        Args:
            ids: int64 [F * B], all of feature 0 first, or concatenated bags in that order.
            offsets: int64 [F * B + 1], the bags' bounds, if any feature is multi-valued.

        Raises:
            TypeError, ValueError: see :func:`~stream_prune.embedding.bags.check`; a negative id.
        """
        spans, _, ids, _, _ = self._checked(ids, offsets, None)
        return self.cache.lookup(ids, spans)

    def _checked(
        self, ids: I64, offsets: I64 | None, weights: F32 | None
    ) -> tuple[I64, int, I64, I64 | None, F32 | None]:
        """Spans, batch size, and the arguments without what is beyond ``most_values``."""
        spans, batch = check(ids, offsets, len(self.configs))
        check_weights(weights, ids)
        if offsets is None or self._most is None:
            return spans, batch, ids, offsets, weights
        kept, offsets = last_values(offsets, np.repeat(self._most, batch))
        weights = None if weights is None else weights[kept]
        return offsets[np.arange(len(spans)) * batch], batch, ids[kept], offsets, weights

    def forward(self, ids: I64, offsets: I64 | None = None, weights: F32 | None = None) -> Tensor:
        """Embeddings [B, F, D]; of a bag the (weighted) mean or sum, of an empty bag the cold row.

        With gradients enabled the result is a leaf of the autograd graph, whose gradient waits
        for :meth:`step`. Arguments and errors as for :meth:`lookup`; ``weights`` float32 [n] are of
        the values in their bags (see :func:`~stream_prune.embedding.bags.check_weights`).
        """
        spans, _, ids, offsets, weights = self._checked(ids, offsets, weights)
        return self.read(Found(self.cache.lookup(ids, spans), offsets, self._layout, weights))

    def read(self, found: Found) -> Tensor:
        """The same for a batch that :meth:`admit` has found, without a second look-up.

        Raises:
            RuntimeError: rows changed hands or places since then.
        """
        if found.layout != self._layout:
            raise RuntimeError("rows changed hands since admit(): read before adapt() and resize()")
        values, pooled = self._back_end.pool(self.weight, self._pooled(found), self.lr * self.rate)
        values = values.view(-1, len(self.configs), self.dim)
        if not torch.is_grad_enabled():
            return values
        self._awaited = True
        return self._gradients.watch(values, pooled)

    def _pooled(self, found: Found) -> Pooled:
        tables, device = len(self.configs), self.weight.device
        offsets = found.offsets
        if offsets is None and found.weights is None:
            rows = torch.from_numpy(found.rows.reshape(tables, -1).T.reshape(-1)).to(device)
            return Pooled(rows, None, None, found.layout)
        offsets = np.arange(found.rows.size + 1) if offsets is None else offsets
        weights = np.empty(0, np.float32) if found.weights is None else found.weights
        first = self.cache.rows.first
        bags = batch_major(found.rows, offsets, first, self._mean, weights)
        rows, ends, share = (torch.from_numpy(array).to(device) for array in bags)
        return Pooled(rows, ends, share, found.layout)

    def learnable(self, ids: I64, offsets: I64 | None = None) -> Tensor:
        """:meth:`admit`, then :meth:`read`."""
        return self.read(self.admit(ids, offsets))

    def step(self) -> None:
        """Apply the gradients of every backward pass since the last step, summed, in one update.

        Raises:
            RuntimeError: rows changed hands or places between a forward pass and this step.
        """
        self._awaited = False
        if self._gradients:
            gradients = self._gradients.take(self._layout)
            lr = self.lr * self.rate
            self._back_end.step(self.weight, self.accumulator, gradients, lr)

    def finite(self) -> bool:
        """Whether all gradients that wait for :meth:`step` are finite."""
        return self._gradients.finite()

    def weights_finite(self) -> bool:
        """Whether all rows are finite."""
        return bool(torch.isfinite(self.weight).all())

    def discard(self) -> None:
        """Forget the gradients that wait for :meth:`step`."""
        self._gradients, self._awaited = Gradients(), False

    def admit(self, ids: I64, offsets: I64 | None = None, weights: F32 | None = None) -> Found:
        """Count a batch that is about to be learned, and admit whom it entitles at once.

        That is while there is room; else in the place of a row that was among the weakest at the
        last :meth:`adapt`, was not seen since and is beaten by ``hysteresis``. While a gradient is
        awaited nobody loses a row, so batches may be accumulated. Who gets none now contests at the
        next :meth:`adapt`.

        Returns where its ids are now, for :meth:`read`. A value counts once, whatever its weight.

        Arguments and errors as for :meth:`forward`; nothing is counted if one is raised.
        """
        spans, batch, ids, offsets, weights = self._checked(ids, offsets, weights)
        before = self.cache.rows.evictions.sum()
        rows, moves = self.cache.admit(ids, spans, batch, evicts=not self._awaited)
        self._layout += int(self.cache.rows.evictions.sum() > before)
        self._move(moves)
        return Found(rows, offsets, self._layout, weights)

    def adapt(self) -> None:
        """Let the ids that were seen often enough since the last call contest the weakest rows.

        In each table that follows its stream: the strongest candidate against the weakest row,
        and so on while the candidate's decayed count exceeds hysteresis times the row's.
        """
        self._settled("adapt")
        moves = self.cache.contest()
        if moves.fresh.size:
            self._layout += 1
            self._move(moves)

    def drifted(self) -> None:
        """A drift was signalled: learned half-lives get shorter until coverage says otherwise."""
        self.cache.drifted()

    def resize(self, capacities: Mapping[str, int]) -> None:
        """New capacities of some tables, by name; each keeps its rows of greatest decayed count.

        Weights and accumulators move with their ids. Graphs of earlier forward passes stay valid.
        A table that doesn't follow its stream is frozen by the first call that cuts it.

        Raises:
            KeyError: an unknown table.
            ValueError: a negative capacity.
            RuntimeError: gradients are waiting for :meth:`step`.
        """
        self._settled("resize")
        places = {name: i for i, name in enumerate(self.tables)}
        for name, capacity in capacities.items():
            if capacity < 0:
                raise ValueError(f"table {name!r}: capacity = {capacity}: must be 0 or more")
        new = self.cache.resize({places[n]: int(c) for n, c in capacities.items()})
        leave(new.left, new.slots, self.weight, self.waiting_weight)
        leave(new.left, new.slots, self.accumulator, self.waiting_accumulator)
        source = torch.from_numpy(new.moved).to(self.weight.device)
        self._place(new.to, self.weight[source], self.accumulator[source])

    def churn(self) -> dict[str, tuple[int, int]]:
        """(admissions, evictions) of each table since the last call."""
        return dict(zip(self.tables, self.cache.churn(), strict=True))

    def _settled(self, what: str) -> None:
        if self._gradients:
            raise RuntimeError(f"gradients are waiting: call step() before {what}()")

    def _move(self, moves: Moves) -> None:
        move(moves, self.weight, self.waiting_weight, cold=True)
        move(moves, self.accumulator, self.waiting_accumulator, cold=False)

    def _place(self, rows: I64, weight: Tensor, accumulator: Tensor) -> None:
        """New storage for the cache's present layout, with these rows filled."""
        at = torch.from_numpy(rows).to(self.weight.device)
        self._layout += 1
        device = self.weight.device
        self.weight, self.accumulator = self._back_end.allocate(self.cache.size, self.dim, device)
        self.weight.index_copy_(0, at, weight)
        self.accumulator.index_copy_(0, at, accumulator)

    # torch's two hooks behind state_dict() and load_state_dict(): the tables save themselves alike
    # on their own and inside another module.

    def _shape(self) -> str:
        tables = [
            [c.name, c.capacity, c.half_life, *c.half_lives, c.cold_share, c.waiting]
            for c in self.configs
        ]
        return json.dumps({"dim": self.dim, "tables": tables})

    def _save_to_state_dict(
        self,
        destination: dict[str, Any],
        prefix: str,
        keep_vars: bool,  # noqa: ARG002
    ) -> None:
        self._settled("state_dict")
        live = torch.from_numpy(self.cache.live()).to(self.weight.device)
        destination[f"{prefix}shape"] = self._shape()
        destination[f"{prefix}weight"] = self.weight[live]
        destination[f"{prefix}accumulator"] = self.accumulator[live]
        waiting = torch.from_numpy(self.cache.occupied()).to(self.weight.device)
        destination[f"{prefix}waiting_weight"] = self.waiting_weight[waiting]
        destination[f"{prefix}waiting_accumulator"] = self.waiting_accumulator[waiting]
        destination[f"{prefix}rate"] = self.rate
        destination[f"{prefix}events"] = self.cache.events
        for name, array in self.cache.arrays().items():
            destination[f"{prefix}rows.{name}"] = torch.from_numpy(array)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,  # noqa: ARG002
        strict: bool,  # noqa: ARG002
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        wanted = {"shape", "weight", "accumulator", "rate", "events"}
        wanted |= {"waiting_weight", "waiting_accumulator"}
        wanted |= {f"rows.{name}" for name in self.cache.arrays()}
        mine = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
        missing_keys += [prefix + name for name in sorted(wanted - mine.keys())]
        unexpected_keys += [prefix + name for name in sorted(mine.keys() - wanted)]
        if not wanted <= mine.keys():
            return
        if mine["shape"] != self._shape():
            error_msgs.append(
                f"embedding tables: saved as {mine['shape']}, but this model has {self._shape()}"
            )
            return
        rows = {
            k.removeprefix("rows."): v.cpu().numpy()
            for k, v in mine.items()
            if k.startswith("rows.")
        }
        self.cache.restore(rows, int(mine["events"]))
        self.rate = float(mine["rate"])
        self._gradients = Gradients()
        device = self.weight.device
        weight, accumulator = mine["weight"].to(device), mine["accumulator"].to(device)
        self._place(self.cache.live(), weight, accumulator)
        waiting = torch.from_numpy(self.cache.occupied()).to(device)
        self.waiting_weight.index_copy_(0, waiting, mine["waiting_weight"].to(device))
        self.waiting_accumulator.index_copy_(0, waiting, mine["waiting_accumulator"].to(device))
