"""Rows that were trained elsewhere: their weights, and what an optimizer knew of them."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adagrad, Optimizer

from stream_prune.embedding import row_set
from stream_prune.embedding.tables import EmbeddingTables
from stream_prune.errors import ConfigError


@torch.no_grad()
def adopt(tables: EmbeddingTables, weight: Tensor, accumulator: Tensor | None = None) -> None:
    """Let the ids 0 .. N - 1 own the rows of the only table, which nobody owns yet.

    The cold row becomes their mean. They count as if all recent look-ups had been theirs, so that
    they are not given away before the stream has shown which are used: in proportion to their
    accumulators, or where there are none, all alike.

    Args:
        weight: [N, D], N being the table's capacity.
        accumulator: [N], the sum of mean squared gradients of each; None: zeros.

    Raises:
        ConfigError: another shape, or a table in which ids share rows by hash.
    """
    cache, config = tables.cache, tables.configs[0]
    wanted = (config.capacity, tables.dim)
    if weight.shape != wanted:
        raise ConfigError(
            f"table {config.name!r}: _weight of shape {list(weight.shape)}: must be {list(wanted)}"
        )
    if cache.rows.cold[0] > 1:
        raise ConfigError(
            f"table {config.name!r}: cold_share = {config.cold_share}: must be 0 where rows are "
            "carried over, as every one of them needs a row of its own"
        )
    size = config.capacity
    cache.rows.used[0] = size
    owned = cache.owned(0)
    cache.rows.owner[owned] = np.arange(size)
    share = np.full(size, 1.0 / max(size, 1))
    if accumulator is not None and float(accumulator.sum()) > 0:
        share = (accumulator.double() / accumulator.double().sum()).cpu().numpy()
    cache.rows.counts[owned] = share * config.half_life / math.log(2)
    row_set.index(cache.rows)
    values = weight.to(tables.weight)
    tables.weight[owned] = values
    if size:
        tables.weight[owned.start - 1] = values.mean(0)
    if accumulator is not None:
        tables.accumulator[owned] = accumulator.to(tables.accumulator)


def row_accumulator(name: str, optimizer: Optimizer, param: Tensor) -> tuple[Tensor, float, float]:
    """Accumulator [N], learning rate and epsilon of a table that torch's Adagrad trained.

    Adagrad keeps a sum of squared gradients of every weight; row-wise Adagrad keeps their mean over
    the row.

    Raises:
        ConfigError: another optimizer, or settings that row-wise Adagrad doesn't have.
    """
    way_out = "pass carry_state=False and an lr: the rows' accumulators then begin at 0"
    if type(optimizer) is not Adagrad:
        raise ConfigError(
            f"table {name!r}: {type(optimizer).__name__} trains it, whose state is none that "
            f"row-wise Adagrad could go on with; {way_out}"
        )
    group = group_of(optimizer, param)
    for setting in ("lr_decay", "weight_decay", "maximize"):
        if group[setting]:
            raise ConfigError(
                f"table {name!r}: {setting} = {group[setting]}: row-wise Adagrad has none; "
                f"{way_out}"
            )
    total: Tensor = optimizer.state[param]["sum"]
    return total.mean(1), float(group["lr"]), float(group["eps"])


def group_of(optimizer: Optimizer, param: Tensor) -> dict[str, Any]:
    """The parameter group of an optimizer that holds this parameter; empty if none does."""
    held = (g for g in optimizer.param_groups if any(p is param for p in g["params"]))
    return next(held, {})


def let_go(optimizer: Optimizer, param: Tensor) -> None:
    """Take a parameter and its state out of an optimizer; a group may be left empty.

    Groups stay, because a scheduler holds a rate for each.
    """
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if p is not param]
    optimizer.state.pop(param, None)
