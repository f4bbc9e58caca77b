"""Reading rows of a flat weight on the CPU, faster than memory answers one by one."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.prefetch import AHEAD, prefetch

F32 = npt.NDArray[np.float32]


@compiled
def _gather(weight: F32, rows: I64, out: F32) -> None:
    dim = weight.shape[1]
    for i in range(rows.size):
        if i + AHEAD < rows.size:
            prefetch(weight, rows[i + AHEAD] * dim)
        row = rows[i]
        for d in range(dim):
            out[i, d] = weight[row, d]


def gather(weight: Tensor, rows: Tensor) -> Tensor:
    """``weight[rows]`` [n, D] of a float32 weight [V, D], on any device.

    On one core .7 to .9 ms for 53 k rows of 16 in tables of 50 k to a million rows, where torch's
    index_select takes 1.0 to 1.5.
    """
    if weight.device.type != "cpu":
        return weight.index_select(0, rows)
    values = torch.empty(rows.numel(), weight.shape[1])
    _gather(weight.numpy(), rows.numpy(), values.numpy())
    return values
