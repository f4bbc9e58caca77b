"""All embedding tables of a model as one flat weight, with its optimizer and its row set."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stream_prune.embedding.adagrad import RowwiseAdagrad
from stream_prune.embedding.bags import Found, batch_major, check
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.gradients import Gradients
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.row_cache import RowCache
from stream_prune.embedding.row_table import RowTable


class EmbeddingTables(nn.Module):
    """Embeddings of F categorical features, each with a limited number of rows.

    Row 0 of a table is its *cold row*: what every id without a row of its own reads and trains.
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

    Raises:
        ValueError: no table, or two of one name.
    """

    weight: Tensor
    accumulator: Tensor

    def __init__(
        self,
        configs: Sequence[TableConfig],
        dim: int,
        lr: float,
        eps: float = 1e-10,
        init_std: float = 0.05,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        names = [c.name for c in configs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"tables {names}: at least one, each with a name of its own")
        self.configs = tuple(configs)
        self.dim = dim
        self.lr = lr
        self.rate = 1.0
        self.cache = RowCache(configs)
        self.optimizer = RowwiseAdagrad(eps)
        weight = torch.zeros(self.cache.size, dim)
        draw = torch.randn(len(names), dim, generator=torch.Generator().manual_seed(seed))
        weight[torch.from_numpy(self.cache.rows.first)] = init_std * draw
        self.register_buffer("weight", weight.to(device))
        self.register_buffer("accumulator", torch.zeros(self.cache.size, device=device))
        self.tables = {c.name: RowTable(self, i) for i, c in enumerate(configs)}
        self._layout = 0  # rises whenever a row changes its owner or its place
        self._gradients = Gradients()

    def lookup(self, ids: I64, offsets: I64 | None = None) -> I64:
        """Flat rows of ids, in their order; an id without a row finds its table's cold row.

        Args:
            ids: int64 [F * B], all of feature 0 first, or concatenated bags in that order.
            offsets: int64 [F * B + 1], the bags' bounds, if any feature is multi-valued.

        Raises:
            TypeError, ValueError: see :func:`~stream_prune.embedding.bags.check`; a negative id.
        """
        return self.cache.lookup(ids, check(ids, offsets, len(self.configs))[0])

    def forward(self, ids: I64, offsets: I64 | None = None) -> Tensor:
        """Embeddings [B, F, D]; of a bag the mean, of an empty bag the cold row.

        With gradients enabled the result is a leaf of the autograd graph, whose gradient waits
        for :meth:`step`. Arguments and errors as for :meth:`lookup`.
        """
        return self.read(Found(self.lookup(ids, offsets), offsets, self._layout))

    def read(self, found: Found) -> Tensor:
        """The same for a batch that :meth:`admit` has found, without a second look-up.

        Raises:
            RuntimeError: rows changed hands or places since then.
        """
        if found.layout != self._layout:
            raise RuntimeError("rows changed hands since admit(): read before adapt() and resize()")
        tables, device = len(self.configs), self.weight.device
        ends = None
        if found.offsets is None:
            rows = torch.from_numpy(found.rows.reshape(tables, -1).T.reshape(-1)).to(device)
            values = self.weight.index_select(0, rows)
        else:
            bags, bounds = batch_major(found.rows, found.offsets, self.cache.rows.first)
            rows, ends = torch.from_numpy(bags).to(device), torch.from_numpy(bounds).to(device)
            values = F.embedding_bag(rows, self.weight, ends, mode="mean", include_last_offset=True)
        values = values.view(-1, tables, self.dim)
        if not torch.is_grad_enabled():
            return values
        return self._gradients.watch(values, rows, ends, found.layout)

    def step(self) -> None:
        """Apply the gradients of every backward pass since the last step, summed, in one update.

        Raises:
            RuntimeError: rows changed hands or places between a forward pass and this step.
        """
        if self._gradients:
            rows, values = self._gradients.take(self._layout)
            lr = self.lr * self.rate
            self.optimizer.step(self.weight, self.accumulator, rows, values, lr)

    def discard(self) -> None:
        """Forget the gradients that wait for :meth:`step`."""
        self._gradients = Gradients()

    def admit(self, ids: I64, offsets: I64 | None = None) -> Found:
        """Count a batch that is about to be learned; while there is room, admit whom it entitles.

        Returns where its ids are now, for :meth:`read`.

        Arguments and errors as for :meth:`lookup`; nothing is counted if one is raised.
        """
        spans, batch = check(ids, offsets, len(self.configs))
        rows, fresh = self.cache.admit(ids, spans, batch)
        self._start_as_cold(fresh)
        return Found(rows, offsets, self._layout)

    def adapt(self) -> None:
        """Let the ids that were seen often enough since the last call contest the weakest rows.

        In each table that follows its stream: the strongest candidate against the weakest row,
        and so on while the candidate's decayed count exceeds hysteresis times the row's.
        """
        self._settled("adapt")
        fresh = self.cache.contest()
        if fresh.size:
            self._layout += 1
            self._start_as_cold(fresh)

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
        moved, to = self.cache.resize({places[n]: int(c) for n, c in capacities.items()})
        source = torch.from_numpy(moved).to(self.weight.device)
        self._place(to, self.weight[source], self.accumulator[source])

    def churn(self) -> dict[str, tuple[int, int]]:
        """(admissions, evictions) of each table since the last call."""
        return dict(zip(self.tables, self.cache.churn(), strict=True))

    def _settled(self, what: str) -> None:
        if self._gradients:
            raise RuntimeError(f"gradients are waiting: call step() before {what}()")

    def _start_as_cold(self, fresh: I64) -> None:
        if fresh.size:
            rows = torch.from_numpy(fresh).to(self.weight.device)
            cold = torch.from_numpy(self.cache.cold(fresh)).to(self.weight.device)
            self.weight.index_copy_(0, rows, self.weight.index_select(0, cold))
            self.accumulator.index_fill_(0, rows, 0.0)

    def _place(self, rows: I64, weight: Tensor, accumulator: Tensor) -> None:
        """New storage for the cache's present layout, with these rows filled."""
        at = torch.from_numpy(rows).to(self.weight.device)
        self._layout += 1
        self.weight = self.weight.new_zeros(self.cache.size, self.dim).index_copy_(0, at, weight)
        self.accumulator = self.accumulator.new_zeros(self.cache.size).index_copy_(
            0, at, accumulator
        )

    # torch's two hooks behind state_dict() and load_state_dict(): the tables save themselves alike
    # on their own and inside another module.

    def _shape(self) -> str:
        tables = [[c.name, c.capacity, c.half_life] for c in self.configs]
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
        rows = {k.removeprefix("rows."): v.cpu().numpy() for k, v in mine.items() if "rows." in k}
        self.cache.restore(rows, int(mine["events"]))
        self.rate = float(mine["rate"])
        self._gradients = Gradients()
        device = self.weight.device
        weight, accumulator = mine["weight"].to(device), mine["accumulator"].to(device)
        self._place(self.cache.live(), weight, accumulator)
