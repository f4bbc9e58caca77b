"""Row-wise Adagrad on the rows that a batch touched, fused and exact.

For a row with gradient g, summed over all its occurrences: ``acc += mean(g^2)``, then
``w -= lr * g / (sqrt(acc) + eps)``. One accumulator a row, as recommenders at scale have it
(Mudigere et al., ISCA 2022), and one step a batch however often a row occurs: the same as a dense
Adagrad of that kind, without its cost.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stream_prune.compiled_loops import compiled
from stream_prune.embedding.id_map import I64
from stream_prune.embedding.prefetch import AHEAD, prefetch

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]


@compiled
def _update(
    weight: F32,
    accumulator: F32,
    rows: I64,
    gradients: F32,
    lr: float,
    eps: float,
    place: I32,
    sums: F32,
    touched: I64,
) -> None:
    """``place`` [V] is scratch full of -1 and is left so; ``sums`` [n, D] and ``touched`` [n] too.

    What is needed of a row is asked for some rows ahead: memory is what this waits for.
    """
    dim = weight.shape[1]
    distinct = 0
    for i in range(rows.size):
        if i + AHEAD < rows.size:
            prefetch(place, rows[i + AHEAD])
        row = rows[i]
        at = place[row]
        if at < 0:
            place[row] = distinct
            touched[distinct] = row
            for d in range(dim):
                sums[distinct, d] = gradients[i, d]
            distinct += 1
        else:
            for d in range(dim):
                sums[at, d] += gradients[i, d]
    for at in range(distinct):
        if at + AHEAD < distinct:
            soon = touched[at + AHEAD]
            prefetch(place, soon)
            prefetch(accumulator, soon)
            prefetch(weight, soon * dim)
        row = touched[at]
        place[row] = -1
        accumulator[row] += _sum_of_squares(sums, at) / np.float32(dim)
        rate = np.float32(lr) / (np.sqrt(accumulator[row]) + np.float32(eps))
        for d in range(dim):
            weight[row, d] -= rate * sums[at, d]


@compiled
def _sum_of_squares(sums: F32, at: int) -> np.float32:
    """Four sums side by side: each addition waits for the one before it in the same sum only."""
    dim = sums.shape[1]
    first = second = third = fourth = np.float32(0.0)
    fours = dim - dim % 4
    for d in range(0, fours, 4):
        first += sums[at, d] * sums[at, d]
        second += sums[at, d + 1] * sums[at, d + 1]
        third += sums[at, d + 2] * sums[at, d + 2]
        fourth += sums[at, d + 3] * sums[at, d + 3]
    for d in range(fours, dim):
        first += sums[at, d] * sums[at, d]
    return (first + second) + (third + fourth)


def update_torch(
    weight: Tensor, accumulator: Tensor, rows: Tensor, gradients: Tensor, lr: float, eps: float
) -> None:
    """The update in torch's own operations, on any device."""
    touched, place = torch.unique(rows, return_inverse=True)
    sums = gradients.new_zeros(touched.numel(), weight.shape[1]).index_add_(0, place, gradients)
    accumulator.index_add_(0, touched, sums.square().mean(1))
    rate = lr / (accumulator.index_select(0, touched).sqrt() + eps)
    weight.index_add_(0, touched, sums * rate.unsqueeze(1), alpha=-1)


class RowwiseAdagrad:
    """The update of a flat weight [V, D] and its accumulator [V], in place.

    On CPU a compiled loop (sums in the order of the batch, so deterministic), elsewhere torch.
    """

    def __init__(self, eps: float) -> None:
        self.eps = eps
        self._place = np.empty(0, np.int32)
        self._sums = np.empty((0, 0), np.float32)
        self._touched = np.empty(0, np.int64)

    @torch.no_grad()
    def step(
        self, weight: Tensor, accumulator: Tensor, rows: Tensor, gradients: Tensor, lr: float
    ) -> None:
        """Apply gradients [n, D] to flat rows [n]; a row may occur any number of times."""
        if weight.device.type != "cpu":
            update_torch(weight, accumulator, rows, gradients, lr, self.eps)
            return
        if self._place.size != weight.shape[0]:
            self._place = np.full(weight.shape[0], -1, np.int32)
        if self._touched.size < rows.numel() or self._sums.shape[1] != weight.shape[1]:
            self._touched = np.empty(rows.numel(), np.int64)
            self._sums = np.empty((rows.numel(), weight.shape[1]), np.float32)
        _update(
            weight.numpy(),
            accumulator.numpy(),
            rows.numpy(),
            gradients.numpy(),
            lr,
            self.eps,
            self._place,
            self._sums,
            self._touched,
        )
