"""The limit: a training step's matrix products and table look-ups, and nothing else.

No activation, loss, gradient of a bias, standardisation, concatenation, optimizer or update of a
row, no counting and no look-up of ids in a map: what no implementation in this process can do
without. As fast as torch has it, or with the dot products of all pairs and their gradients by this
project's compiled loops, which select the pairs on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from compare_throughput.clicks import BATCH, DENSE, DIM, FIELDS
from stream_prune.models.dot_loops import dots, dots_backward


class Limit:
    """A step of a DLRM's products: of every layer, forward and for both gradients.

    Args:
        bottom, top: hidden widths.
        weight: of the tables [V, D], flat.
        rows: [B F] rows that a mini-batch reads.
        dtype: of the products.
        loops: dot products by compiled loops.
    """

    def __init__(
        self,
        bottom: Sequence[int],
        top: Sequence[int],
        weight: Tensor,
        rows: Tensor,
        dtype: torch.dtype = torch.float32,
        *,
        loops: bool = False,
    ) -> None:
        self._products: list[Callable[[], object]] = []
        vectors = FIELDS + 1
        self._layers((DENSE, *bottom, DIM), dtype, of_inputs=False)
        self._layers((DIM + vectors * (vectors - 1) // 2, *top, 1), dtype, of_inputs=True)
        self._products.append(lambda: weight.index_select(0, rows))
        if loops:
            vector, others = torch.randn(BATCH, DIM), torch.randn(BATCH, FIELDS, DIM)
            gradient = dots(vector, others, 0)
            self._products += [
                lambda: dots(vector, others, 0),
                lambda: dots_backward(vector, others, gradient),
            ]
            return
        x = torch.randn(BATCH, vectors, DIM, dtype=dtype)
        pairs = torch.randn(BATCH, vectors, vectors, dtype=dtype)
        self._products += [
            lambda: torch.bmm(x, x.transpose(1, 2)),
            lambda: torch.bmm(pairs, x),
        ]

    def learn(self, batches: int) -> None:
        """So many steps."""
        with torch.no_grad():
            for _ in range(batches):
                for product in self._products:
                    product()

    def _layers(self, widths: Sequence[int], dtype: torch.dtype, *, of_inputs: bool) -> None:
        """``of_inputs``: the first layer's inputs have a gradient, too."""
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            x = torch.randn(BATCH, inputs, dtype=dtype)
            weight = torch.randn(outputs, inputs, dtype=dtype)
            bias = torch.randn(outputs, dtype=dtype)
            gradient = torch.randn(BATCH, outputs, dtype=dtype)
            self._products += [
                lambda b=bias, x=x, w=weight: torch.addmm(b, x, w.t()),
                lambda g=gradient, x=x: g.t() @ x,
            ]
            if number or of_inputs:
                self._products.append(lambda g=gradient, w=weight: g @ w)
