"""The dot products of all pairs among vectors, and their gradient: DLRM's interaction.

Written as products and selections of columns, the way that exports and runs on any device; while a
CPU trains, as one compiled loop a way, in a third of the time. Everything between two such products
costs a narrow model as much on a CPU as half of its matrix products.
"""

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

LOOPS = find_spec("numba") is not None
"""Whether loops can be compiled; training from a log needs them anyway."""

LOOP_THREADS = 2
"""A compiled loop runs in one thread; torch's products use all, where there are more than these."""


class PairwiseDots(torch.autograd.Function):
    """A vector [B, D] beside the dot products of all pairs [B, P] among it and others [B, F, D].

    So many columns of zeros come last: :mod:`.aligned`.
    """

    @staticmethod
    def forward(
        ctx: Any, vector: Tensor, others: Tensor, triangle: Tensor, mirror: Tensor, zeros: int
    ) -> Tensor:
        ctx.looped = _looped(vector, others)
        if ctx.looped:
            from stream_prune.models.dot_loops import dots

            ctx.save_for_backward(vector, others)
            return dots(vector.float(), others, zeros)
        vectors = torch.cat([vector.unsqueeze(1), others], 1)
        ctx.save_for_backward(vectors, mirror)
        return beside_pairs(vector, vectors, triangle, zeros)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        if ctx.looped:
            from stream_prune.models.dot_loops import dots_backward

            vector, others = ctx.saved_tensors
            of_vector, of_others = dots_backward(vector.float(), others, gradient.float())
            return of_vector.to(vector.dtype), of_others, None, None, None
        vectors, mirror = ctx.saved_tensors
        n, dim = vectors.shape[1:]
        products = gradient.index_select(1, mirror).view(-1, n, n)
        products.diagonal(dim1=1, dim2=2).zero_()
        # Under autocast the products were taken in bfloat16, of vectors that may be float32.
        spread = torch.bmm(products.to(vectors.dtype), vectors)
        return spread[:, 0] + gradient[:, :dim], spread[:, 1:], None, None, None


def beside_pairs(vector: Tensor, vectors: Tensor, triangle: Tensor, zeros: int = 0) -> Tensor:
    """A vector [B, D] beside the products [B, P] among vectors [B, F + 1, D], and zeros."""
    products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
    parts = [vector, products.index_select(1, triangle)]
    if zeros:
        parts.append(vector.new_zeros((len(vector), zeros)))
    return torch.cat(parts, 1)


def _looped(vector: Tensor, others: Tensor) -> bool:
    """Under autocast, too: loops are exact, and the bottom's vector alone comes in bfloat16."""
    return (
        LOOPS
        and not torch.compiler.is_compiling()
        and not torch._C._len_torch_dispatch_stack()  # somebody traces or counts what torch does
        and others.device.type == "cpu"
        and others.dtype == torch.float32
        and vector.dtype in (torch.float32, torch.bfloat16)
        and torch.get_num_threads() <= LOOP_THREADS
    )
