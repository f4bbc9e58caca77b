"""One call that gives a user's own model embedding rows that follow the stream."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from stream_prune.embedding.carry_over import adopt, group_of, let_go, row_accumulator
from stream_prune.embedding.config import TableConfig
from stream_prune.embedding.drop_in import PLAIN, StreamEmbedding, StreamEmbeddingBag
from stream_prune.embedding.row_table import RowTable
from stream_prune.errors import ConfigError

Torch = nn.Embedding | nn.EmbeddingBag
DropIn = StreamEmbedding | StreamEmbeddingBag


@dataclass(frozen=True)
class Swapped:
    """The drop-in modules of a model, by their names in it."""

    modules: Mapping[str, DropIn]

    @property
    def tables(self) -> dict[str, RowTable]:
        """As ``SparsityController(tables=...)`` takes them."""
        return {name: module.table for name, module in self.modules.items()}

    def step(self) -> None:
        """Let the rows learn; for a loop whose optimizer is not known here."""
        for module in self.modules.values():
            module.learned()

    def discard(self) -> None:
        """Forget the rows' gradients since the last step."""
        for module in self.modules.values():
            module.rows.discard()

    def step_with(self, optimizer: Optimizer) -> None:
        """From now on the rows learn in every step of this optimizer.

        If it holds parameters and none of them has a gradient when it has stepped, the step was
        dropped (as a controller does where gradients are not finite), and the rows' with it.
        """
        optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        del args, kwargs
        params = [param for group in optimizer.param_groups for param in group["params"]]
        if params and all(param.grad is None for param in params):
            self.discard()
        self.step()


def swap_tables(
    model: nn.Module,
    optimizer: Optimizer | None = None,
    *,
    names: Collection[str] | None = None,
    lr: float | None = None,
    carry_state: bool = True,
    config: TableConfig = PLAIN,
    window_rows: int = 4096,
) -> Swapped:
    """Swap a model's ``nn.Embedding`` and ``nn.EmbeddingBag`` for drop-ins, weights included.

    Every row keeps its id and its weights; each table's capacity is its number of rows, until
    ``tables[name].resize(n)`` or a controller changes it. The optimizer lets go of the swapped
    parameters, and the rows learn in its steps. If anything is refused, nothing has been changed.

    Args:
        model: changed in place.
        optimizer: the one that holds the tables' parameters; None: there is none yet, so call
            :meth:`Swapped.step_with` when there is.
        names: of the modules to swap; None: all of them.
        lr: of the rows' Adagrad; None: that of the optimizer (an Adagrad).
        carry_state: the accumulators go on from those of the optimizer (an Adagrad). False: they
            begin at 0. Without an optimizer there is none to carry.
        config: how the rows follow the stream; name, capacity and combine are each table's own.
        window_rows: look-ups or bags after which candidates contest the weakest rows.

    Raises:
        ConfigError: what cannot be swapped, by name, with the way out.
    """
    found = _chosen(model, names)
    new: dict[str, DropIn] = {}
    for name, module in found.items():
        _check(model, name, module)
        rate, eps, accumulator = lr, 1e-10, None
        if optimizer is not None:
            if not group_of(optimizer, module.weight):
                raise ConfigError(
                    f"table {name!r}: the optimizer doesn't hold it: pass the one that does, or "
                    "name in `names` only tables that it holds"
                )
            if carry_state:
                accumulator, theirs, eps = row_accumulator(name, optimizer, module.weight)
                rate = theirs if lr is None else lr
        if rate is None:
            raise ConfigError(f"table {name!r}: lr = None: give the rate of the rows' Adagrad")
        own = replace(config, name=name)
        new[name] = _drop_in(module, lr=rate, eps=eps, config=own, window_rows=window_rows)
        adopt(new[name].rows, module.weight, accumulator)
        new[name].train(module.training)
    for name, module in found.items():
        for parent in list(model.modules()):  # a module may have several parents
            for attribute, child in list(parent.named_children()):
                if child is module:
                    setattr(parent, attribute, new[name])
        if optimizer is not None:
            let_go(optimizer, module.weight)
    swapped = Swapped(new)
    if optimizer is not None:
        swapped.step_with(optimizer)
    return swapped


def _chosen(model: nn.Module, names: Collection[str] | None) -> dict[str, Torch]:
    if isinstance(model, nn.Embedding | nn.EmbeddingBag):
        raise ConfigError("model: is a table itself; build a StreamEmbedding in its place")
    every: dict[str, Torch] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
    }
    unknown = sorted(set(names or ()) - every.keys())
    if unknown or not every:
        raise ConfigError(
            f"names = {unknown or names}: no table of the model; it has {sorted(every) or 'none'}"
        )
    return every if names is None else {name: every[name] for name in every if name in names}


def _check(model: nn.Module, name: str, module: Torch) -> None:
    if type(module) not in (nn.Embedding, nn.EmbeddingBag):
        raise ConfigError(
            f"table {name!r}: a {type(module).__name__}, which may do more than torch's own; "
            "leave it out by `names`"
        )
    if not module.weight.requires_grad:
        raise ConfigError(f"table {name!r}: is frozen; leave it out by `names`")
    if sum(p is module.weight for _, p in model.named_parameters(remove_duplicate=False)) > sum(
        m is module for _, m in model.named_modules(remove_duplicate=False)
    ):
        raise ConfigError(
            f"table {name!r}: another module uses its weight; untie them, or leave it out by "
            "`names`"
        )
    padding = module.padding_idx
    if isinstance(module, nn.Embedding) and padding is not None and module.weight[padding].any():
        raise ConfigError(
            f"table {name!r}: row padding_idx = {padding} is not zero, as it will be: set it to "
            "zero, or build the embedding without padding_idx"
        )


def _drop_in(module: Torch, **settings: Any) -> DropIn:
    same: dict[str, Any] = {
        "num_embeddings": module.num_embeddings,
        "embedding_dim": module.embedding_dim,
        "padding_idx": module.padding_idx,
        "max_norm": module.max_norm,
        "scale_grad_by_freq": module.scale_grad_by_freq,
        "device": module.weight.device,
        "dtype": module.weight.dtype,
    }
    if isinstance(module, nn.EmbeddingBag):
        same |= {"mode": module.mode, "include_last_offset": module.include_last_offset}
        return StreamEmbeddingBag(**same, **settings)
    return StreamEmbedding(**same, **settings)
